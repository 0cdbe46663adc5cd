# SPDX-License-Identifier: Apache-2.0
"""Kinds of values a setting can have: how they are read, written and explained."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from missiond.config.units import format_span, parse_span

_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_SERVICE = re.compile(r"(?=.{1,255}\Z)[A-Za-z0-9:_.\\@-]+\.service", re.ASCII)
_YES = frozenset({"1", "yes", "y", "true", "t", "on"})
_NO = frozenset({"0", "no", "n", "false", "f", "off"})


class ValueType(Protocol):
    """One kind of value."""

    @property
    def allowed(self) -> str:
        """What may be given, for people."""

    def parse(self, text: str) -> object:
        """Return the value; raises ValueError, with a text for people, when it is not allowed."""

    def format(self, value: object) -> str:
        """Return how the value is written in a file."""


@dataclass(frozen=True, slots=True)
class Count:
    """A whole number."""

    least: int
    most: int

    @property
    def allowed(self) -> str:
        """What may be given, for people."""
        return f"a whole number, {self.least} to {self.most}"

    def parse(self, text: str) -> int:
        """Return the number; raises ValueError."""
        if not _NUMBER.fullmatch(text):
            raise ValueError(f"not {self.allowed}")
        return _in_range(int(text), self.least, self.most, self.allowed)

    def format(self, value: object) -> str:
        """Return how the number is written."""
        return str(value)


@dataclass(frozen=True, slots=True)
class Lowering:
    """A whole number that is not above 0."""

    least: int

    @property
    def allowed(self) -> str:
        """What may be given, for people."""
        return f"a whole number, {self.least} to 0"

    def parse(self, text: str) -> int:
        """Return the number; raises ValueError."""
        if not _NUMBER.fullmatch(text.removeprefix("-")):
            raise ValueError(f"not {self.allowed}")
        return _in_range(int(text), self.least, 0, self.allowed)

    def format(self, value: object) -> str:
        """Return how the number is written."""
        return str(value)


@dataclass(frozen=True, slots=True)
class Percent:
    """A whole percentage, with or without its sign."""

    least: int = 0
    most: int = 100

    @property
    def allowed(self) -> str:
        """What may be given, for people."""
        return f"a whole percentage, {self.least} to {self.most}"

    def parse(self, text: str) -> int:
        """Return the percentage; raises ValueError."""
        digits = text.removesuffix("%").rstrip()
        if not _NUMBER.fullmatch(digits):
            raise ValueError(f"not {self.allowed}")
        return _in_range(int(digits), self.least, self.most, self.allowed)

    def format(self, value: object) -> str:
        """Return how the percentage is written."""
        return str(value)


@dataclass(frozen=True, slots=True)
class Span:
    """A time span; limits and values are milliseconds."""

    least: int
    most: int

    @property
    def allowed(self) -> str:
        """What may be given, for people."""
        return f"a time span, {format_span(self.least)} to {format_span(self.most)}"

    def parse(self, text: str) -> int:
        """Return the milliseconds; raises ValueError."""
        return _in_range(parse_span(text), self.least, self.most, self.allowed)

    def format(self, value: object) -> str:
        """Return how the time span is written."""
        if not isinstance(value, int):
            raise TypeError("a time span is a number of milliseconds")
        return format_span(value)


@dataclass(frozen=True, slots=True)
class What:
    """What a lock holds back: a list of words from logind's, joined by colons."""

    words: tuple[str, ...] = ("sleep", "idle", "handle-lid-switch", "shutdown")

    @property
    def allowed(self) -> str:
        """What may be given, for people."""
        return f"one or more of {', '.join(self.words)}, joined by colons"

    def parse(self, text: str) -> tuple[str, ...]:
        """Return the words in the order of ``words``, each once; raises ValueError."""
        given = [word.strip() for word in text.split(":")]
        for word in given:
            if word not in self.words:
                raise ValueError(f"{word!r:.40} is not one of {', '.join(self.words)}")
        return tuple(word for word in self.words if word in given)

    def format(self, value: object) -> str:
        """Return how the list is written."""
        if not isinstance(value, tuple):
            raise TypeError("what a lock holds back is a tuple of words")
        return ":".join(value)


@dataclass(frozen=True, slots=True)
class Uids:
    """A list of user ids, separated by spaces."""

    @property
    def allowed(self) -> str:
        """What may be given, for people."""
        return "user ids (numbers) separated by spaces, or none"

    def parse(self, text: str) -> tuple[int, ...]:
        """Return the ids in ascending order, each once; raises ValueError."""
        words = [] if text == "none" else text.split()
        for word in words:
            if not _NUMBER.fullmatch(word) or int(word) >= 2**32 - 1:
                raise ValueError(f"{word!r:.40} is not a user id")
        return tuple(sorted(set(map(int, words))))

    def format(self, value: object) -> str:
        """Return how the list is written."""
        if not isinstance(value, tuple):
            raise TypeError("user ids are a tuple of numbers")
        return " ".join(map(str, value)) or "none"


@dataclass(frozen=True, slots=True)
class Services:
    """A list of services, separated by spaces."""

    @property
    def allowed(self) -> str:
        """What may be given, for people."""
        return "names of services, such as cron.service, separated by spaces, or none"

    def parse(self, text: str) -> tuple[str, ...]:
        """Return the names in order, each once; raises ValueError."""
        words = [] if text == "none" else text.split()
        for word in words:
            if not _SERVICE.fullmatch(word):
                raise ValueError(f"{word!r:.40} is not the name of a service")
        return tuple(sorted(set(words)))

    def format(self, value: object) -> str:
        """Return how the list is written."""
        if not isinstance(value, tuple):
            raise TypeError("services are a tuple of names")
        return " ".join(value) or "none"


@dataclass(frozen=True, slots=True)
class Flag:
    """Yes or no, in the words of systemd.syntax(7)."""

    @property
    def allowed(self) -> str:
        """What may be given, for people."""
        return "yes or no"

    def parse(self, text: str) -> bool:
        """Return whether it is yes; raises ValueError."""
        word = text.lower()
        if word not in _YES | _NO:
            raise ValueError(f"not {self.allowed}")
        return word in _YES

    def format(self, value: object) -> str:
        """Return the word."""
        return "yes" if value else "no"


@dataclass(frozen=True, slots=True)
class Addresses:
    """A list of IP addresses, separated by spaces."""

    @property
    def allowed(self) -> str:
        """What may be given, for people."""
        return "IP addresses separated by spaces, or any"

    def parse(self, text: str) -> tuple[str, ...]:
        """Return the addresses as given, none for any; raises ValueError."""
        words = [] if text == "any" else text.split()
        if not words:
            return ()
        import ipaddress  # noqa: PLC0415  (the agent at rest does without)

        for word in words:
            try:
                ipaddress.ip_address(word)
            except ValueError:
                raise ValueError(f"{word!r:.60} is not an IP address") from None
        return tuple(dict.fromkeys(words))

    def format(self, value: object) -> str:
        """Return how the list is written."""
        if not isinstance(value, tuple):
            raise TypeError("addresses are a tuple of texts")
        return " ".join(value) or "any"


@dataclass(frozen=True, slots=True)
class Sharers:
    """A list of user ids, separated by spaces, or everybody."""

    @property
    def allowed(self) -> str:
        """What may be given, for people."""
        return "user ids (numbers) separated by spaces, all or none"

    def parse(self, text: str) -> tuple[int, ...] | None:
        """Return the ids in ascending order, each once, None for everybody; raises ValueError."""
        return None if text == "all" else Uids().parse(text)

    def format(self, value: object) -> str:
        """Return how the list is written."""
        return "all" if value is None else Uids().format(value)


def _in_range(value: int, least: int, most: int, allowed: str) -> int:
    if not least <= value <= most:
        raise ValueError(f"out of range: {allowed}")
    return value
