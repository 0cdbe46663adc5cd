# SPDX-License-Identifier: Apache-2.0
"""Listens to a peer's missions and prints a line of JSON for each signal, with the list as it is then."""

from __future__ import annotations

import asyncio
import json
import sys
import time

from missiond.client import Client
from missiond.client_missions import Missions
from missiond.errors import AgentError
from missiond.service.names import DISTRIBUTED_MISSION_MANAGER


async def main(device: str) -> None:
    async with Client() as agent:
        missions = Missions(agent, device)
        also = [("NetDisconnect", DISTRIBUTED_MISSION_MANAGER, None)]
        async with agent.signals("MissionsChanged", DISTRIBUTED_MISSION_MANAGER, also=also) as signals:
            await missions._call("RegisterMissionListener", "s", device)
            await missions.start_sync()
            say("ready", await listed(missions))
            async for found in signals:
                at = time.monotonic_ns()
                if found[0] == device:
                    say("disconnected" if len(found) > 1 else "changed", await listed(missions), at)


async def listed(missions: Missions) -> list[tuple[object, ...]] | None:
    """Return the list, None where there is none now."""
    try:
        return [tuple(mission) for mission in await missions.infos()]
    except AgentError:
        return None


def say(*words: object) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
