# SPDX-License-Identifier: Apache-2.0
"""Owns tasks and listens, and says what it heard when, in seconds of CLOCK_BOOTTIME.

Each line in is the JSON of a list: a method of Witness and its arguments.  Each line out is the JSON of
[result, time before the call, time after it].
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import missiond
from missiond.bus_names import BACKGROUND_TASK_MANAGER, DISTRIBUTED_MISSION_MANAGER

SIGNALS = {
    "SuspendDelayExpiring": BACKGROUND_TASK_MANAGER,
    "SuspendDelayEnded": BACKGROUND_TASK_MANAGER,
    "ContinuousTaskCancel": BACKGROUND_TASK_MANAGER,
    "MissionsChanged": DISTRIBUTED_MISSION_MANAGER,
}


class Witness:
    """One program of alice's."""

    def __init__(self, agent: missiond.Agent) -> None:
        self._agent = agent
        self._heard: list[list[Any]] = []

    async def follow(self, member: str) -> None:
        """Note each signal of this name."""

        def note(*arguments: Any) -> None:
            self._heard.append([member, now(), *arguments])

        await self._agent._bus.subscribe(SIGNALS[member], {member: note})

    async def listen(self) -> None:
        """Hear of this host's missions."""
        await self._agent._bus.call(DISTRIBUTED_MISSION_MANAGER, "RegisterMissionListener", "")

    async def mission(self) -> None:
        """Be one."""
        await self._agent.missions.register()

    async def request(self, reason: str, delay: int) -> int:
        """Return the id of the request for so many ms."""
        return (await self._agent.delay_sleep(reason, at_most=delay / 1000)).id

    async def cancel(self, number: int) -> None:
        """End it."""
        await self._agent._bus.call(BACKGROUND_TASK_MANAGER, "CancelSuspendDelay", number)

    async def left(self, number: int) -> int:
        """Return the ms that it still has."""
        return round(await self._agent.remaining(number) * 1000)

    async def quota(self) -> int:
        """Return the ms that this program may still ask for."""
        return round((await self._agent.quota()).remaining * 1000)

    async def start(self, *modes: str) -> int:
        """Return the id of a continuous task."""
        return (await self._agent.keep_awake(mode=modes, context="")).id

    async def stop(self) -> None:
        """End it."""
        await self._agent._bus.call(BACKGROUND_TASK_MANAGER, "StopBackgroundRunning", {})

    async def heard(self) -> list[list[Any]]:
        """Return name, time and arguments of each signal so far."""
        return self._heard


def now() -> float:
    """Return seconds since boot, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def main() -> None:
    """Serve until the input ends."""
    async with missiond.connect() as agent:
        witness = Witness(agent)
        for member in SIGNALS:
            await witness.follow(member)
        while line := await asyncio.to_thread(sys.stdin.readline):
            member, *arguments = json.loads(line)
            before = now()
            result = await getattr(witness, member)(*arguments)
            print(json.dumps([result, before, now()]), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
