# SPDX-License-Identifier: Apache-2.0
"""Ends missions: SIGTERM, a time to clean up, SIGKILL."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from missiond.common.background_work import BackgroundWork
from missiond.core.missions.missions import Mission, Sighting
from missiond.daemon.helper_client import Privileged
from missiond.daemon.missions.registry import MissionRegistry
from missiond.errors import MissionNotFound, PermissionDenied, SystemServiceFailed
from missiond.helper.requests import Kill, Request, Signal
from missiond.host.helper import HelperMissing
from missiond.host.processes.procfs import ProcDirectory
from missiond.host.processes.stat import Stat

_LOGGER = logging.getLogger(__name__)

Members = Callable[[Sighting], Awaitable[tuple[list[Stat], Path | None]]]
Process = tuple[int, int]
"""Pid and start time."""

_ROUNDS = 50
"""What is forked while the others are killed is found by looking again."""
_GONE = ("", "ESRCH", "ENOENT")


class Termination:
    """SIGTERM to every process of a mission, and SIGKILL to the rest after the grace time.

    The second half outlives a restart of the agent. It is called off when the mission is locked meanwhile.
    A process is named by pid and start time, a control group by its inode: nothing else is ever hit.
    """

    def __init__(
        self,
        missions: MissionRegistry,
        members: Members,
        mount: Path,
        helper: Privileged,
        grace_ms: int,
    ) -> None:
        self.grace_ms = grace_ms
        self._missions = missions
        self._members = members
        self._mount = mount
        self._helper = helper
        self._families: dict[int, list[Stat]] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._work = BackgroundWork(_LOGGER, "ending a mission")

    async def end(self, mission: Mission) -> None:
        """Ask a mission to end, and kill the rest later; returns once SIGTERM was sent.

        Once more in the grace time sends SIGTERM once more. Raises PermissionDenied where it is locked, a
        service of the host, or all of it is other users'; MissionNotFound where it has just ended;
        SystemServiceFailed without the helper.
        """
        check_may_end(mission)
        stats, _ = await self._members(mission.seen)
        if not stats or mission.id not in self._missions.table:
            raise MissionNotFound(f"mission {mission.id} has ended")
        check_may_end(mission)  # it may have been locked meanwhile
        if any(stat.pid in (1, os.getpid()) for stat in stats):
            raise PermissionDenied(f"mission {mission.id} is what runs this host; it is not ended")
        its = [stat for stat in stats if _uid(stat) in (mission.uid, None)]
        if not its:
            raise PermissionDenied(f"mission {mission.id} consists of other users' processes")
        # First the file, then the signal: what an agent that crashes has begun, the next one ends.
        before = mission.kill_at
        self._missions.end_by(mission, before or _now() + self.grace_ms)
        try:
            await self._ask_to_end(mission, its)
        except BaseException:
            self._missions.end_by(mission, before)
            raise
        _LOGGER.info("SIGTERM to mission %d, %s (%d processes)", mission.id, mission.seen.app_id, len(its))
        if mission.seen.key.startswith("process/"):
            self._families[mission.id] = its  # who would not be found any more once the first of them is gone
        self._schedule(mission)

    def resume(self) -> None:
        """Resume the terminations of an earlier run."""
        for mission in self._missions.table:
            self._schedule(mission)

    def close(self) -> None:
        """Stop; the next run goes on."""
        for timer in self._timers.values():
            timer.cancel()
        self._work.close()
        self._helper.close()

    async def _ask_to_end(self, mission: Mission, stats: list[Stat]) -> None:
        answers = await self._ask([Signal(stat.pid, stat.start_ticks, "TERM") for stat in stats])
        if not any(answer in _GONE for answer in answers):
            raise PermissionDenied(
                f"the processes of mission {mission.id} may not be ended ({answers[0]}): those of a system's "
                "user only where MISSIOND_SYSTEM_USERS= names it, see missiond(8)"
            )
        # one that is stopped hears nothing until it goes on
        await self._ask([Signal(stat.pid, stat.start_ticks, "CONT") for stat in stats if stat.state == "T"])

    async def _ask(self, requests: Sequence[Request]) -> list[str]:
        try:
            return await self._helper.ask(requests)
        except HelperMissing as error:
            raise SystemServiceFailed(
                f"missiond-helper, which ends missions, can't be reached ({error}); "
                "see systemctl status missiond-helper.socket"
            ) from None

    def _schedule(self, mission: Mission) -> None:
        timer = self._timers.pop(mission.id, None)
        if timer is not None:
            timer.cancel()
        if mission.kill_at is not None:
            delay = max(0, mission.kill_at - _now()) / 1000
            self._timers[mission.id] = asyncio.get_running_loop().call_later(delay, self._late, mission)

    def _late(self, mission: Mission) -> None:
        self._timers.pop(mission.id, None)
        family = self._families.pop(mission.id, [])
        if self._is_condemned(mission):
            self._work.start(self._kill(mission))
        elif family and mission.id not in self._missions.table:
            self._work.start(self._kill_orphans(family))

    def _is_condemned(self, mission: Mission) -> bool:
        """Whether it is still the same, and nobody locked it meanwhile."""
        return mission.id in self._missions.table and mission.kill_at is not None and not mission.locked

    async def _kill(self, mission: Mission) -> None:
        _LOGGER.info("SIGKILL to mission %d, %s", mission.id, mission.seen.app_id)
        try:
            await self._kill_all(mission)
        except HelperMissing as error:
            _LOGGER.error("mission %d is not killed: no missiond-helper (%s)", mission.id, error)
        if mission.kill_at is not None:
            self._missions.end_by(mission, None)

    async def _kill_orphans(self, family: list[Stat]) -> None:
        with contextlib.suppress(HelperMissing):
            await self._helper.ask([Signal(stat.pid, stat.start_ticks, "KILL") for stat in family])

    async def _kill_all(self, mission: Mission) -> None:
        asked: set[Process] = set()
        for _ in range(_ROUNDS):
            stats, directory = await self._members(mission.seen)
            fresh = [stat for stat in stats if (stat.pid, stat.start_ticks) not in asked]
            if not fresh or not self._is_condemned(mission):
                return
            if directory is not None and await self._kill_group(mission, directory):
                return
            asked.update((stat.pid, stat.start_ticks) for stat in fresh)
            its = [stat for stat in fresh if _uid(stat) in (mission.uid, None)]
            answers = await self._helper.ask([Signal(stat.pid, stat.start_ticks, "KILL") for stat in its])
            refused = sorted({answer for answer in answers if answer not in _GONE})
            if refused:
                _LOGGER.warning("not all of mission %d is killed: %s", mission.id, ", ".join(refused))
        _LOGGER.warning("mission %d starts processes faster than they can be killed", mission.id)

    async def _kill_group(self, mission: Mission, directory: Path) -> bool:
        """All of a control group at once, where it is the user's own to kill; whether that was done."""
        path = directory.relative_to(self._mount)
        if f"user@{mission.uid}.service" not in path.parts:
            return False
        try:
            request = Kill(int(mission.seen.key.rpartition("/")[2]), str(path))
            return await self._helper.ask([request]) == [""]
        except ValueError:  # a path that is too long to be asked for
            return False


def check_may_end(mission: Mission) -> None:
    """Raise PermissionDenied where a mission is not to be ended."""
    if mission.locked:
        raise PermissionDenied(
            f"mission {mission.id} is locked; unlock it first, with UnlockMission {mission.id}"
        )
    if mission.seen.system:
        raise PermissionDenied(
            f"mission {mission.id} is {mission.seen.unit}, which belongs to the host; use systemctl(1)"
        )


def _uid(stat: Stat) -> int | None:
    """Whose a process is; None where it is gone."""
    try:
        with ProcDirectory(stat.pid) as directory:
            return directory.uid()
    except (OSError, ValueError):
        return None


def _now() -> int:
    return time.monotonic_ns() // 1_000_000
