# SPDX-License-Identifier: Apache-2.0
"""Shares of people in a pool of places of the host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

ROOT = 0
_SHARED_FROM = 32
"""A pool with fewer places is not divided: half of so little is nothing."""
_ROOT_PART = 16
"""One place in so many is root's."""
_FEW_PART = 4
"""One place in so many is for people who hold few."""
_FEW, _FEW_AT_LEAST = 256, 4
"""Few is less than one place in so many, or less than four."""


class Shares:
    """Counts places in a pool of `most` places, by person.

    Nobody but root takes more than half of what others leave, the last quarter is for people with little, and
    the last sixteenth for root: so whoever fills it leaves room for everybody else's first tasks.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: Counter[int] = Counter()
        self._holders: dict[Hashable, int] = {}

    @property
    def most(self) -> int:
        """Places in all."""
        return self._most

    def configure(self, most: int) -> None:
        """Change the number of places; taken places stay."""
        self._most = most

    def __len__(self) -> int:
        """How many places are taken."""
        return len(self._holders)

    def person(self, key: Hashable) -> int:
        """Return the person of a place; raises KeyError without one."""
        return self._holders[key]

    def of(self, person: int) -> int:
        """How many places a person holds."""
        return self._held[person]

    def has_room(self, person: int) -> bool:
        """Whether the person may take one more."""
        free = self._most - len(self._holders)
        if person == ROOT or self._most < _SHARED_FROM:
            return free > 0
        free -= self._most // _ROOT_PART
        held = self._held[person]
        if held < max(_FEW_AT_LEAST, self._most // _FEW):
            return free > 0
        return free > self._most // _FEW_PART and held < free

    def take(self, key: Hashable, person: int) -> None:
        """Give a place to a holder of this person, with or without room; again is no error."""
        if key not in self._holders:
            self._holders[key] = person
            self._held[person] += 1

    def give_back(self, key: Hashable) -> None:
        """Take a place back; holders without one are ignored."""
        person = self._holders.pop(key, None)
        if person is not None:
            self._held[person] -= 1
            if not self._held[person]:
                del self._held[person]
