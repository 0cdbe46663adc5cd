# SPDX-License-Identifier: Apache-2.0
"""Finds missions: units from the control groups, jobs from the processes of the shared ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from missiond.common.time_slice import SlicedQueue
from missiond.core.missions.missions import Sighting
from missiond.daemon.missions.registry import MissionRegistry
from missiond.daemon.missions.user_scanner import Members, UserScanner, inode_of
from missiond.host.cgroups.tree import Unit
from missiond.host.processes import jobs


class MissionScanner:
    """Keeps the sink told, without ever looking at all processes; `is_person` tells of a uid.

    Whatever one user has in control groups is looked at in small steps of `queue`, by turns with others'.
    """

    def __init__(
        self,
        mount: Path,
        sink: MissionRegistry,
        is_person: Callable[[int], bool],
        queue: SlicedQueue,
    ) -> None:
        self._mount = mount
        self._sink = sink
        self._is_person = is_person
        self._queue = queue
        self._users: dict[int | None, UserScanner] = {}
        self._user_of: dict[int, UserScanner] = {}
        """By the inode of the unit."""

    def populated(self, unit: Unit, frozen: bool) -> None:
        """Something lives in a unit."""
        user = self._user_of.get(unit.inode) or self._users.get(unit.uid)
        if user is None:
            user = UserScanner(self._mount, self._sink, self._is_person, self._queue, unit.uid)
            self._users[unit.uid] = user
        self._user_of[unit.inode] = user
        user.populated(unit, frozen)

    def ended(self, unit: Unit) -> None:
        """Nothing lives in a unit any more."""
        user = self._user_of.pop(unit.inode, None)
        if user is None:
            return
        user.ended(unit)
        if not user.places:
            user.close()
            del self._users[user.uid]

    def programs_started(self) -> None:
        """Look for programs just started somewhere on the host."""
        for user in self._users.values():
            user.programs_started()

    def leader_exited(self, sighting: Sighting) -> None:
        """Look at the rest of a mission after the leader's exit."""
        user = self._user_of.get(inode_of(sighting.key))
        if user is None:
            self._sink.lost(sighting.key)
        else:
            user.leader_exited(inode_of(sighting.key), sighting.leader.pid)

    def look_again(self) -> None:
        """Look at every place."""
        for user in self._users.values():
            user.look_again()

    def tell_again(self) -> None:
        """Tell of all missions once more, perhaps of another user by now."""
        for user in self._users.values():
            self._queue.add(user.tell_again, user.uid)

    def close(self) -> None:
        """Look no more."""
        for user in self._users.values():
            user.close()

    def members(self, sighting: Sighting) -> Members:
        """Return the live processes of a mission, and the control group where nobody else is inside."""
        user = self._user_of.get(inode_of(sighting.key))
        if sighting.key.startswith("process/"):
            return jobs.family(sighting.leader.pid, sighting.leader.start_ticks), None
        return ([], None) if user is None else (yield from user.members(sighting))
