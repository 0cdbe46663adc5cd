# SPDX-License-Identifier: Apache-2.0
"""Time spans in the syntax of systemd.time(7)."""

from __future__ import annotations

import re

_SECOND = 1000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
# In microseconds, to be exact without fractions.
_NAMES: dict[str, int] = {
    name: size
    for names, size in (
        ("us usec μs µs", 1),
        ("ms msec", 1000),
        ("s sec second seconds", 1000 * _SECOND),
        ("m min minute minutes", 1000 * _MINUTE),
        ("h hr hour hours", 1000 * _HOUR),
        ("d day days", 1000 * _DAY),
        ("w week weeks", 7000 * _DAY),
        ("M month months", 1000 * 2_629_800 * _SECOND),
        ("y year years", 1000 * 31_557_600 * _SECOND),
    )
    for name in names.split()
} | {"": 1000 * _SECOND}
_WRITTEN = (("d", _DAY), ("h", _HOUR), ("min", _MINUTE), ("s", _SECOND), ("ms", 1))
_PART = re.compile(
    r"\s*(?:\+?(?P<whole>[0-9]{1,18}))?(?:\.(?P<part>[0-9]{1,18}))?(?![0-9])(?P<unit>\s*[a-zA-Zμµ]*)"
)


def parse_span(text: str) -> int:
    """Return the milliseconds of a time span; a plain number is seconds.

    ``"3min"``, ``"1h 30min"``, ``"1.5h"``, ``"500ms"``, as systemd.time(7) has them, but for ``"infinity"``:
    a month (``M``) is 30.44 days, a year 365.25. What is below a millisecond is cut off.

    :raises ValueError: not a time span.
    """
    total = 0
    at = 0
    text = text.strip()
    while (match := _PART.match(text, at)) and (match["whole"] or match["part"]):
        at = match.end()
        unit = match["unit"].strip()
        size = _NAMES.get(unit)
        if size is None:
            raise ValueError(f"{unit!r:.20} is not a unit of time (us, ms, s, min, h, d, w, month, y)")
        if not match["unit"] and at != len(text):  # 12.34.56
            break
        total += int((match["whole"] or "") + (match["part"] or "").ljust(18, "0")) * size
    if at == 0 or at != len(text):
        raise ValueError("not a time span such as 90s, 3min or 1h 30min")
    return total // (1000 * 10**18)


def format_span(milliseconds: int) -> str:
    """Return the shortest usual text of a time span: ``"1h 30min"``, the inverse of ``parse_span``.

    :param milliseconds: not negative.
    """
    parts = []
    left = milliseconds
    for name, size in _WRITTEN:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{name}")
    return " ".join(parts) or "0s"
