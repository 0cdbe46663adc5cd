# SPDX-License-Identifier: Apache-2.0
"""Parsers of command-line words; all raise argparse.ArgumentTypeError."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from datetime import timedelta

from missiond import LONGEST_TASK, SHORTEST_TASK, Mode

_SHORTEST, _LONGEST = (bound // timedelta(milliseconds=1) for bound in (SHORTEST_TASK, LONGEST_TASK))
MAX_U32 = 2**32 - 1
TASK_KINDS = ("transient", "continuous")
_CLOCK_TIME = re.compile(
    r"(?:(?P<date>\d{4}-\d\d-\d\d)[ T])?(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d))?", re.ASCII
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)


def mode(value: str) -> str:
    """Parse a kind of work, such as `data-transfer` or `dataTransfer`, to the name on the bus."""
    written = {re.sub("[A-Z]", lambda found: f"-{found[0].lower()}", each.item): each.item for each in Mode}
    return written.get(value, value)


class SpanWords(argparse.Action):
    """Time span of one or several words, such as `1h 30min`; `const` parses the words together."""

    def __call__(  # noqa: D102
        self, _parser: object, namespace: argparse.Namespace, values: object, _option: str | None = None
    ) -> None:
        assert isinstance(values, Sequence)
        try:
            setattr(namespace, self.dest, self.const(" ".join(values)) if values else None)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentError(self, str(error)) from None


def service_name(value: str) -> str:
    """Parse the variable part of a service's name."""
    if not _NAME.fullmatch(value):
        raise argparse.ArgumentTypeError(f"{value!r}: up to 64 letters, digits and _.- after the first")
    return value


def text(value: str) -> str:
    """Parse text for the bus."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("not valid UTF-8") from None
    return value


def any_text(value: str) -> str:
    """Return text for people, with ? for undecodable bytes."""
    return value.encode(errors="replace").decode()


def is_text(value: str) -> bool:
    """Whether a string is free of undecodable bytes (halves of surrogate pairs in Python)."""
    return value == any_text(value)


def span(value: str) -> int:
    """Parse a time span to ms, 1 to 2^32 - 1."""
    return _span(value, 1, MAX_U32, "1ms and 49d")


def hold_time(value: str) -> int:
    """Parse how long a continuous task lasts, to ms."""
    return _span(value, _SHORTEST, _LONGEST, "1s and 7d")


def _span(value: str, least: int, most: int, limits: str) -> int:
    from missiond.config.units import parse_span  # noqa: PLC0415

    try:
        milliseconds = parse_span(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{value!r}: {error}") from None
    if not least <= milliseconds <= most:
        raise argparse.ArgumentTypeError(f"{value!r} is not between {limits}")
    return milliseconds


def until(value: str, now: float | None = None) -> int:
    """Parse a local time of the day, or date and time; return the distance from now in ms.

    `now`: seconds since the epoch, as the clock has them where it is left out.
    """
    from datetime import datetime, timedelta  # noqa: PLC0415

    here = datetime.fromtimestamp(time.time() if now is None else now)
    match = _CLOCK_TIME.fullmatch(value)
    wrong = argparse.ArgumentTypeError(f"{value!r} is not a time such as 18:30 or '2030-12-24 18:30'")
    if match is None:
        raise wrong
    try:
        hour, minute, second = (int(match[name] or 0) for name in ("hour", "minute", "second"))
        then = here.replace(hour=hour, minute=minute, second=second, microsecond=0)
        if match["date"]:
            then = datetime.combine(datetime.fromisoformat(match["date"]), then.time())
        elif then <= here:
            then += timedelta(days=1)
    except ValueError:
        raise wrong from None
    milliseconds = round((then.timestamp() - here.timestamp()) * 1000)
    if not _SHORTEST <= milliseconds <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{value!r} is not within the next 7 days")
    return milliseconds


def process_id(value: str) -> int:
    """Parse a process id."""
    if not value.isascii() or not value.isdecimal() or not 1 <= int(value) <= MAX_U32:
        raise argparse.ArgumentTypeError(f"{value!r} is not a process id")
    return int(value)


def mission(value: str) -> int:
    """Parse the number of a mission."""
    if not value.isascii() or not value.isdecimal() or not 1 <= int(value[:11]) <= MAX_U32:
        raise argparse.ArgumentTypeError(f"{value!r:.40} is not the number of a mission")
    return int(value)


def task(value: str) -> tuple[str | None, int]:
    """Parse `transient/12`, `continuous/7` or (kind unknown) `12` to kind and id."""
    kind, slash, number = value.rpartition("/")
    if (
        (slash and kind not in TASK_KINDS)
        or not number.isascii()
        or not number.isdecimal()
        or len(number) > 10
    ):
        raise argparse.ArgumentTypeError(f"{value!r} is not a task, such as transient/12 or continuous/7")
    if not 1 <= int(number) <= MAX_U32:
        raise argparse.ArgumentTypeError(f"{value!r}: ids start at 1")
    return kind or None, int(number)
