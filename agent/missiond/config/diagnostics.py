# SPDX-License-Identifier: Apache-2.0
"""Problems of configuration files."""

from __future__ import annotations

from dataclasses import dataclass

_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong, for the log.

    ``line`` counts from 1; 0 means the file as a whole. A warning (``error`` false) is about something that
    is ignored and changes nothing.
    """

    path: str
    line: int
    text: str
    subject: str = ""
    error: bool = True

    def __str__(self) -> str:
        """Return ``file:line: [Section] Key=value: problem``, printable for any content."""
        place = f"{self.path}:{self.line}" if self.line else self.path
        return ": ".join(printable(part) for part in (place, self.subject, self.text) if part)


def printable(text: str) -> str:
    """Return text with control and other unprintable characters escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def shortened(text: str) -> str:
    """Return at most about a line of text."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
