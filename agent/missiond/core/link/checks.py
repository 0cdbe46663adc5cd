# SPDX-License-Identifier: Apache-2.0
"""Checks of what another host says: type, range and length of single values."""

from __future__ import annotations

from collections.abc import Callable

U32 = 2**32 - 1
I32 = 2**31 - 1
U64 = 2**64 - 1
I63 = 2**63 - 1

Check = Callable[[object], object]


class BadMessage(ValueError):
    """The other side said what no well-made peer says; `str()` tells what, and is safe to log."""


def number(low: int, high: int) -> Callable[[object], int]:
    """Return a check for whole numbers from `low` to `high`."""

    def check(value: object) -> int:
        if type(value) is not int or not low <= value <= high:
            raise BadMessage(f"not a whole number from {low} to {high}")
        return value

    return check


def text(longest: int) -> Callable[[object], str]:
    """Return a check for strings of at most `longest` characters, of those that a bus can carry."""

    def check(value: object) -> str:
        if type(value) is not str or len(value) > longest:
            raise BadMessage(f"not a string of at most {longest} characters")
        if not clean(value):
            raise BadMessage("not valid text")
        return value

    return check


def clean(value: str) -> bool:
    """Whether a bus can carry it: JSON can spell NUL and lone surrogates, D-Bus can carry neither."""
    if "\0" in value:
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def boolean(value: object) -> bool:
    """Check for true or false."""
    if type(value) is not bool:
        raise BadMessage("neither true nor false")
    return value


def one_of(*words: str) -> Callable[[object], str]:
    """Return a check for one of some words."""

    def check(value: object) -> str:
        if type(value) is not str or value not in words:
            raise BadMessage(f"none of {', '.join(words)}")
        return value

    return check


def members(check: Callable[[object], int], most: int) -> Callable[[object], tuple[int, ...]]:
    """Return a check for lists of at most `most` numbers."""

    def checked(value: object) -> tuple[int, ...]:
        if type(value) is not list or len(value) > most:
            raise BadMessage(f"not a list of at most {most}")
        return tuple(map(check, value))

    return checked
