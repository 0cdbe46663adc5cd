# SPDX-License-Identifier: Apache-2.0
"""Announces a device id, and prints what it finds: a line of JSON for each event."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence

from missiond.bus.connection import Connection
from missiond.host.avahi.avahi import Avahi
from missiond.host.avahi.records import Announcement


class Printer:
    """Devices found and lost, on standard output."""

    def found(self, device_id: str, source: str, addresses: Sequence[str], port: int, name: str = "") -> None:
        say("found", device_id, source, *addresses, port)

    def lost(self, device_id: str, source: str) -> None:
        say("lost", device_id, source)


def say(*words: object) -> None:
    print(json.dumps(words), flush=True)


async def main(device_id: str, name: str, port: str) -> None:
    connection = await Connection.open()
    told = Printer()
    avahi = Avahi(connection, device_id, told.found, told.lost, lambda sentence: say("state", sentence))
    await avahi.start(Announcement(device_id, name, int(port)))
    # until the test takes its end of the pipe away
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    avahi.close()
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
