# SPDX-License-Identifier: Apache-2.0
"""Forgets the list of a device and takes it again: resync DEVICE MISSIONS TIMES.

Prints as JSON the ms from StartSyncRemoteMissions to the whole list.
"""

from __future__ import annotations

import asyncio
import json
import sys
from time import perf_counter

import missiond


async def main(device: str, count: int, times: int) -> None:
    """Measure."""
    took = []
    async with missiond.connect() as agent:
        missions = agent.peers.missions_of(device)
        for _ in range(times):
            await missions.forget()
            begun = perf_counter()
            await missions.keep()
            found = await missions.known()
            took.append((perf_counter() - begun) * 1000)
            assert len(found) >= count, len(found)
    print(json.dumps(took))


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
