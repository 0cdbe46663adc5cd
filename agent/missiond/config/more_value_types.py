# SPDX-License-Identifier: Apache-2.0
"""Kinds of values that few settings have: sizes, and tables of users."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SIZE = re.compile(r"([0-9]{1,18})([KMGT]?)", re.ASCII)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+\\-]{0,254}\$?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Size:
    """A number of bytes, with K, M, G and T of 1024 each."""

    least: int
    most: int

    @property
    def allowed(self) -> str:
        """What may be given, for people."""
        return f"bytes, {self.format(self.least)} to {self.format(self.most)}; K, M, G and T may follow"

    def parse(self, text: str) -> int:
        """Return the bytes; raises ValueError."""
        match = _SIZE.fullmatch(text)
        if match is None:
            raise ValueError(f"not {self.allowed}")
        size = int(match[1]) * _UNITS[match[2]]
        if not self.least <= size <= self.most:
            raise ValueError(f"out of range: {self.allowed}")
        return size

    def format(self, value: object) -> str:
        """Return the shortest way to write it."""
        if not isinstance(value, int):
            raise TypeError("a size is a number of bytes")
        units = [unit for unit, size in _UNITS.items() if value and value % size == 0]
        unit = units[-1] if units else ""
        return f"{value // _UNITS[unit]}{unit}"


@dataclass(frozen=True, slots=True)
class UserTable:
    """Users of other hosts and who they are here, as `there:here`, separated by spaces."""

    @property
    def allowed(self) -> str:
        """What may be given, for people."""
        return "pairs there:here of users separated by spaces (*: any other there, -: nobody here), or same"

    def parse(self, text: str) -> tuple[tuple[str, str], ...]:
        """Return who is whom, nothing for the same names; raises ValueError."""
        table: dict[str, str] = {}
        for word in [] if text == "same" else text.split():
            there, colon, here = word.partition(":")
            if not colon or (there != "*" and not _USER.fullmatch(there)):
                raise ValueError(f"{word!r:.60} is not there:here")
            if here != "-" and not _USER.fullmatch(here):
                raise ValueError(f"{here!r:.60} is not the name of a user")
            if here == "root":
                raise ValueError("nothing goes on as root")
            if table.setdefault(there, here) != here:
                raise ValueError(f"{there} is there twice")
        return tuple(table.items())

    def format(self, value: object) -> str:
        """Return how the table is written."""
        if not isinstance(value, tuple):
            raise TypeError("a table of users is a tuple of pairs")
        return " ".join(f"{there}:{here}" for there, here in value) or "same"
