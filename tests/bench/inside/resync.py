# SPDX-License-Identifier: Apache-2.0
"""Forgets the list of a device and takes it again: resync DEVICE MISSIONS TIMES.

Prints as JSON the ms from StartSyncRemoteMissions to the whole list.
"""

from __future__ import annotations

import asyncio
import json
import sys
from time import perf_counter

from missiond.client import Client
from missiond.client_missions import Missions


async def main(device: str, count: int, times: int) -> None:
    """Measure."""
    took = []
    async with Client() as agent:
        missions = Missions(agent, device)
        for _ in range(times):
            await missions.stop_sync()
            begun = perf_counter()
            await missions.start_sync()
            found = await missions.infos()
            took.append((perf_counter() - begun) * 1000)
            assert len(found) >= count, len(found)
    print(json.dumps(took))


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
