# SPDX-License-Identifier: Apache-2.0
"""Questions that wait for people, of whom each has a share: some are never answered."""

from __future__ import annotations

from collections.abc import Hashable


class NoRoom(Exception):
    """As many questions wait as may; `str()` says whose."""


class Questions:
    """At most `most` questions at a time, and `each` of one person.

    Where all places are taken, who has few questions gets that of somebody who has at least two more.
    """

    def __init__(self, most: int, each: int) -> None:
        self._most = most
        self._each = each
        self._open: dict[int, list[Hashable]] = {}
        """By person; the longest waiting comes first."""

    def __len__(self) -> int:
        """How many wait."""
        return sum(map(len, self._open.values()))

    def begin(self, key: Hashable, person: int) -> Hashable | None:
        """Take a place for a new `key`; return the one that has to be given up for it, whose place it was.

        Raises NoRoom where the person may not ask now.
        """
        held = len(self._open.get(person, ()))
        if held >= self._each:
            raise NoRoom(f"{held} questions of polkit's wait for you; answer or end one first")
        given_up: Hashable | None = None
        if len(self) >= self._most:
            most = max(self._open, key=lambda other: len(self._open[other]))
            if len(self._open[most]) < held + 2:
                raise NoRoom(f"{self._most} questions of polkit's wait for people; try again later")
            given_up = self._open[most][-1]
            self.end(given_up, most)
        self._open.setdefault(person, []).append(key)
        return given_up

    def end(self, key: Hashable, person: int) -> None:
        """Give its place back; one that has none is ignored."""
        keys = self._open.get(person, [])
        if key in keys:
            keys.remove(key)
            if not keys:
                del self._open[person]
