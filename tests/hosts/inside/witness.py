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

from missiond.client import Client
from missiond.service.names import BACKGROUND_TASK_MANAGER, DISTRIBUTED_MISSION_MANAGER

SIGNALS = {
    "SuspendDelayExpiring": BACKGROUND_TASK_MANAGER,
    "SuspendDelayEnded": BACKGROUND_TASK_MANAGER,
    "ContinuousTaskCancel": BACKGROUND_TASK_MANAGER,
    "MissionsChanged": DISTRIBUTED_MISSION_MANAGER,
}


class Witness:
    """One program of alice's."""

    def __init__(self, agent: Client) -> None:
        self._agent = agent
        self._heard: list[list[Any]] = []

    async def follow(self, member: str, ready: asyncio.Event) -> None:
        """Note each signal of this name; never returns."""
        async with self._agent.signals(member, SIGNALS[member]) as signals:
            ready.set()
            async for arguments in signals:
                self._heard.append([member, now(), *arguments])

    async def listen(self) -> None:
        """Hear of this host's missions."""
        await self._agent.manage(DISTRIBUTED_MISSION_MANAGER, "RegisterMissionListener", "s", [""])

    async def mission(self) -> None:
        """Be one."""
        await self._agent.manage(DISTRIBUTED_MISSION_MANAGER, "RegisterMission", "a{sv}", [{}])

    async def request(self, reason: str, delay: int) -> int:
        """Return the id of the request for so many ms."""
        return (await self._agent.request_suspend_delay(reason, delay=delay)).request_id

    async def cancel(self, number: int) -> None:
        """End it."""
        await self._agent.cancel_suspend_delay(number)

    async def left(self, number: int) -> int:
        """Return the ms that it still has."""
        return await self._agent.get_remaining_delay_time(number)

    async def quota(self) -> int:
        """Return the ms that this program may still ask for."""
        return (await self._agent.get_transient_task_info()).remaining_quota

    async def start(self, *modes: str) -> int:
        """Return the id of a continuous task."""
        return (await self._agent.start_background_running(modes)).continuous_task_id

    async def stop(self) -> None:
        """End it."""
        await self._agent.stop_background_running()

    async def heard(self) -> list[list[Any]]:
        """Return name, time and arguments of each signal so far."""
        return self._heard


def now() -> float:
    """Return seconds since boot, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def main() -> None:
    """Serve until the input ends."""
    async with Client() as agent:
        witness = Witness(agent)
        following = []
        for member in SIGNALS:
            ready = asyncio.Event()
            following.append(asyncio.create_task(witness.follow(member, ready)))
            await ready.wait()
        while line := await asyncio.to_thread(sys.stdin.readline):
            member, *arguments = json.loads(line)
            before = now()
            result = await getattr(witness, member)(*arguments)
            print(json.dumps([result, before, now()]), flush=True)
        for task in following:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
