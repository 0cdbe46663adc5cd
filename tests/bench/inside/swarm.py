# SPDX-License-Identifier: Apache-2.0
"""Many peers in one process, with links, lists and TLS as they are: swarm COUNT MISSIONS DEVICE ADDRESS.

All trust that device. Prints as JSON the id and port of each; for each line of input, SECONDS, every peer
changes one mission a second for so long, evenly spread, and "done" is printed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

from missiond.bus.interface import Call
from missiond.bus.variants import variant
from missiond.core.missions.missions import Row
from missiond.peers.agent.notifier import AgentNotifier
from missiond.peers.make_identity import make, store
from missiond.peers.service import Peers1
from missiond.peers.unit import PeerUnit, PeerUnitOptions


class Deaf:
    """In place of an AgentNotifier: nobody is told anything."""

    def _nothing(self, *_arguments: Any, **_options: Any) -> None:
        pass

    peer_changed = peer_gone = pairing_requested = net_disconnect = refused = lacks = details_changed = (
        _nothing
    )
    list_changed = snapshot_changed = snapshots_wanted = asked = _nothing
    link_up = link_down = handover = state_progress = state_complete = state_failed = _nothing


DEAF = cast(AgentNotifier, Deaf())


def row(number: int, turn: int) -> Row:
    """A mission; each turn is another."""
    label = f"Firefox Web Browser – window {number}, {turn}"
    return (
        number, label, "firefox", "org.mozilla.firefox", 1000 + number, 1000, "running", False, False, 0, turn
    )  # fmt: skip


def peer(state: Path, missions: int) -> PeerUnit:
    """One of them."""
    state.mkdir()
    store(state, make())
    unit = PeerUnit(PeerUnitOptions(state, state.name, port=0), DEAF)
    unit.start()
    unit.publish([row(number, 0) for number in range(1, missions + 1)])
    return unit


async def change(units: list[PeerUnit], missions: int, seconds: int) -> None:
    """One mission a second of each."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for turn in range(1, seconds + 1):
        for number, unit in enumerate(units):
            await asyncio.sleep(begun + turn - 1 + number / len(units) - loop.time())
            unit.publish_changes([row(1 + (turn * 7 + number) % missions, turn)], [])


async def main(count: int, missions: int, device: str, address: str) -> None:
    """Serve until the end of input."""
    with tempfile.TemporaryDirectory() as directory:
        units = [peer(Path(directory, f"peer{number}"), missions) for number in range(count)]
        for unit in units:
            options = {"address": variant("s", address)}
            Peers1(unit, DEAF).trust_device(cast(Call, None), device, options)
        print(json.dumps([(unit.identity.device_id, unit.port) for unit in units]), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            await change(units, missions, int(line))
            print("done", flush=True)
        for unit in units:
            await unit.close()


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:5]))
