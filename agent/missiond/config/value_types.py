# SPDX-License-Identifier: Apache-2.0
"""Types of settings: reading, writing and explaining values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from missiond.config.units import format_span, parse_span
from missiond.core.tasks.locks import WHAT_ORDER

_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,18})([KMGT]?)", re.ASCII)
_SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SERVICE = re.compile(r"(?=.{1,255}\Z)[A-Za-z0-9:_.\\@-]+\.service", re.ASCII)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+\\-]{0,254}\$?", re.ASCII)
_YES = frozenset({"1", "yes", "y", "true", "t", "on"})
_NO = frozenset({"0", "no", "n", "false", "f", "off"})


class ValueType(Protocol):
    """One type of values."""

    @property
    def allowed(self) -> str:
        """Allowed values, for people."""

    def parse(self, text: str) -> object:
        """Return the value; raises ValueError with a text for people."""

    def format(self, value: Any) -> str:  # noqa: ANN401 (a value of this type)
        """Return the text of a value in a file."""


@dataclass(frozen=True, slots=True)
class NumberUnit:
    """A unit of numbers; `parse` returns None for other texts, or raises ValueError with a reason."""

    name: str
    parse: Callable[[str], int | None]
    format: Callable[[int], str] = str
    note: str = ""


def _parse_whole(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text.removeprefix("-")) else None


def _parse_percent(text: str) -> int | None:
    digits = text.removesuffix("%").rstrip()
    return int(digits) if _NUMBER.fullmatch(digits) else None


def _parse_size(text: str) -> int | None:
    match = _SIZE.fullmatch(text)
    return int(match[1]) * _SIZES[match[2]] if match is not None else None


def _format_size(value: int) -> str:
    units = [unit for unit, size in _SIZES.items() if value and value % size == 0] or [""]
    return f"{value // _SIZES[units[-1]]}{units[-1]}"


WHOLE = NumberUnit("a whole number", _parse_whole)
PERCENT = NumberUnit("a whole percentage", _parse_percent)
SPAN = NumberUnit("a time span", parse_span, format_span)
"""In milliseconds."""
BYTES = NumberUnit("bytes", _parse_size, _format_size, "; K, M, G and T may follow")
"""With K, M, G and T of 1024 each."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number with a unit, from `least` to `most`."""

    least: int
    most: int
    unit: NumberUnit = WHOLE

    @property
    def allowed(self) -> str:
        """Allowed values, for people."""
        unit = self.unit
        return f"{unit.name}, {unit.format(self.least)} to {unit.format(self.most)}{unit.note}"

    def parse(self, text: str) -> int:
        """Return the number; raises ValueError."""
        value = self.unit.parse(text)
        if value is None:
            raise ValueError(f"not {self.allowed}")
        if not self.least <= value <= self.most:
            raise ValueError(f"out of range: {self.allowed}")
        return value

    def format(self, value: int) -> str:
        """Return the shortest text of the number."""
        return self.unit.format(value)


@dataclass(frozen=True, slots=True)
class WordList:
    """A list of words, each checked alone."""

    allowed: str
    check: Callable[[str], Any]
    """Returns the value of one word; raises ValueError."""
    arrange: Callable[[Iterable[Any]], Iterable[Any]]
    """Arrange the values, each once."""
    empty: str = ""
    """The word for an empty list, where one is allowed."""
    everything: str = ""
    """The word for no limit, where allowed: the value is None."""
    separator: str = " "

    def parse(self, text: str) -> tuple[Any, ...] | None:
        """Return the values of the words; raises ValueError."""
        if self.everything and text == self.everything:
            return None
        if self.empty and text == self.empty:
            return ()
        words = text.split() if self.separator == " " else text.split(self.separator)
        return tuple(self.arrange([self.check(word.strip()) for word in words]))

    def format(self, value: tuple[Any, ...] | None) -> str:
        """Return the words, joined."""
        return self.everything if value is None else self.separator.join(map(str, value)) or self.empty


def _check_lock(word: str) -> str:
    if word not in WHAT_ORDER:
        raise ValueError(f"{word!r:.40} is not one of {', '.join(WHAT_ORDER)}")
    return word


def _check_uid(word: str) -> int:
    if not _NUMBER.fullmatch(word) or int(word) >= 2**32 - 1:
        raise ValueError(f"{word!r:.40} is not a user id")
    return int(word)


def _check_service(word: str) -> str:
    if not _SERVICE.fullmatch(word):
        raise ValueError(f"{word!r:.40} is not the name of a service")
    return word


def _check_address(word: str) -> str:
    import ipaddress  # noqa: PLC0415  (the agent at rest does without)

    try:
        ipaddress.ip_address(word)
    except ValueError:
        raise ValueError(f"{word!r:.60} is not an IP address") from None
    return word


def _sorted_set(values: Iterable[Any]) -> list[Any]:
    return sorted(set(values))


def _as_locks(values: Iterable[str]) -> list[str]:
    return sorted(set(values), key=WHAT_ORDER.index)


LOCKS = WordList(
    f"one or more of {', '.join(WHAT_ORDER)}, joined by colons", _check_lock, _as_locks, separator=":"
)
UIDS = WordList("user ids (numbers) separated by spaces, or none", _check_uid, _sorted_set, "none")
SHARERS = WordList(
    "user ids (numbers) separated by spaces, all or none", _check_uid, _sorted_set, "none", "all"
)
SERVICES = WordList(
    "names of services, such as cron.service, separated by spaces, or none",
    _check_service,
    _sorted_set,
    "none",
)
ADDRESSES = WordList("IP addresses separated by spaces, or any", _check_address, dict.fromkeys, "any")


@dataclass(frozen=True, slots=True)
class Flag:
    """Yes or no, in the words of systemd.syntax(7)."""

    allowed: str = "yes or no"

    def parse(self, text: str) -> bool:
        """Return True for yes; raises ValueError."""
        word = text.lower()
        if word not in _YES | _NO:
            raise ValueError(f"not {self.allowed}")
        return word in _YES

    def format(self, value: object) -> str:
        """Return the word."""
        return "yes" if value else "no"


@dataclass(frozen=True, slots=True)
class UserTable:
    """Users of other hosts and of this one, as `there:here`, separated by spaces."""

    allowed: str = (
        "pairs there:here of users separated by spaces (*: any other there, -: nobody here), or same"
    )

    def parse(self, text: str) -> tuple[tuple[str, str], ...]:
        """Return the pairs, none for the same names; raises ValueError."""
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

    def format(self, value: tuple[tuple[str, str], ...]) -> str:
        """Return the pairs, joined."""
        return " ".join(f"{there}:{here}" for there, here in value) or "same"
