# SPDX-License-Identifier: Apache-2.0
"""Persons by uid: also the uids given by /etc/subuid are a person's (subuid(5), user_namespaces(7))."""

from __future__ import annotations

import logging
import os
import time
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path

from missiond.core.missions import people
from missiond.host.users.user_names import UserNames

SUBUIDS, PASSWD = Path("/etc/subuid"), Path("/etc/passwd")
NOBODY_KNOWN = -1
"""One person for all uids without a name and without an entry in /etc/subuid."""

_LOOK_AGAIN = 1.0
"""Seconds between two looks at whether the files have changed."""
_SIZE_LIMIT = 4 << 20
_LARGEST = 2**32
_LOGGER = logging.getLogger(__name__)


class Persons:
    """Uids of persons, from any uid, by files writable for root alone.

    They are read again when they have changed. What they give to several people belongs to the first, and
    what they give to a name that is not in /etc/passwd to a person of that name (a negative number).
    """

    def __init__(
        self,
        subuids: Path = SUBUIDS,
        passwd: Path = PASSWD,
        is_named: Callable[[int], bool] | None = None,
    ) -> None:
        self._subuids = subuids
        self._passwd = passwd
        self._is_named = is_named or UserNames().has
        self._starts: list[int] = []
        self._ranges: list[tuple[int, int, int]] = []
        """By start: first uid, first one behind it, owner."""
        self._state: object = None
        self._looked = float("-inf")

    def of(self, uid: int) -> int:
        """Return a person's own uid; NOBODY_KNOWN for a uid of nobody known. Never raises.

        Who has a uid may be another one later, when the files are, or once a directory has told its name.
        """
        now = time.monotonic()
        if now - self._looked >= _LOOK_AGAIN:
            self._looked = now
            self._look()
        at = bisect_right(self._starts, uid) - 1
        if at >= 0 and uid < self._ranges[at][1]:
            return self._ranges[at][2]
        return NOBODY_KNOWN if people.may_be_named(uid) and not self._is_named(uid) else uid

    def _look(self) -> None:
        state = [_stamp(path) for path in (self._subuids, self._passwd)]
        if state != self._state:
            self._state = state
            self._read()

    def _read(self) -> None:
        uids: dict[str, int] = {}
        for line in self._lines(self._passwd):
            name, _, uid, *_ = [*line.split(":"), "", ""]
            if uid.isascii() and uid.isdecimal():
                uids.setdefault(name, int(uid))
        given = [found for line in self._lines(self._subuids) if (found := _range(line, uids)) is not None]
        self._ranges = _apart(given)
        self._starts = [start for start, _, _ in self._ranges]

    def _lines(self, path: Path) -> list[str]:
        try:
            with path.open("rb") as file:
                return file.read(_SIZE_LIMIT).decode("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            _LOGGER.warning("%s can't be read; who has which uids is not known: %s", path, error.strerror)
            return []


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 (once a second for good, and half as dear)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _range(line: str, uids: dict[str, int]) -> tuple[int, int, int] | None:
    """Read `name:start:count`, where the name may be a uid."""
    name, _, rest = line.strip().partition(":")
    start, _, count = rest.partition(":")
    if not (rest.isascii() and start.isdecimal() and count.isdecimal() and name):
        return None
    first, after = int(start), min(int(start) + int(count), _LARGEST)
    owner = int(name) if name.isascii() and name.isdecimal() else uids.setdefault(name, -2 - len(uids))
    if not 0 < first < _LARGEST or first <= owner < after:
        return None
    return first, after, owner


def _apart(ranges: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Order them by start, and take from each what is an earlier one's."""
    found: list[tuple[int, int, int]] = []
    end = 0
    for start, after, owner in sorted(ranges):
        if after > end:
            found.append((max(start, end), after, owner))
            end = after
    return found
