# SPDX-License-Identifier: Apache-2.0
"""Listens to a peer's missions and prints a line of JSON for each signal, with the list as it is then."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import missiond
from missiond.bus_names import DISTRIBUTED_MISSION_MANAGER
from missiond.client._missions import PeerMissions
from missiond.client._types import microseconds_of


async def main(device: str) -> None:
    async with missiond.connect() as agent:
        missions = agent.peers.missions_of(device)
        with agent._bus.inbox() as signals:
            heard = {
                name: lambda *arguments: signals.put(arguments)
                for name in ("MissionsChanged", "NetDisconnect")
            }
            await agent._bus.subscribe(DISTRIBUTED_MISSION_MANAGER, heard)
            await agent._bus.call(DISTRIBUTED_MISSION_MANAGER, "RegisterMissionListener", device)
            await missions.keep()
            say("ready", await listed(missions))
            while True:
                found = await signals.get()
                at = time.monotonic_ns()
                if found[0] == device:
                    say("disconnected" if len(found) > 1 else "changed", await listed(missions), at)


async def listed(missions: PeerMissions) -> list[tuple[object, ...]] | None:
    """Return the list, None where there is none now."""
    try:
        return [
            (
                each.id, each.label, each.icon, each.application, each.pid, each.uid, each.state, each.locked,
                each.continuable, each.tag, microseconds_of(each.started),
            )
            for each in await missions.known()
        ]  # fmt: skip
    except missiond.Error:
        return None


def say(*words: object) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
