# SPDX-License-Identifier: Apache-2.0
"""Names close to a mistyped one."""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST = 40
_ALIKE = 0.7


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return, for example, `, did you mean tasks?`, or nothing; upper and lower case are one."""
    import difflib  # noqa: PLC0415 - of mistakes only

    names = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word[:_LONGEST].lower(), names, 1, _ALIKE)
    return f", did you mean {names[found[0]]}?" if found else ""
