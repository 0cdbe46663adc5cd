# SPDX-License-Identifier: Apache-2.0
"""missionctl in-flight."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping
from contextlib import suppress

from missiond.cli.devices import SHOWN, called
from missiond.cli.exits import Exit
from missiond.cli.table import columns, print_json
from missiond.client import Client
from missiond.client_continuations import Continuations, InFlight
from missiond.client_peers import Peers
from missiond.errors import DistributedServiceFailed

_HEADER = ("TRANSFER", "WAY", "PEER", "MISSION", "APPLICATION", "PHASE", "WHY")
_TRANSFER_SHOWN = 12
"""Digits of a transfer; people rarely have two that begin with the same."""


def main(arguments: argparse.Namespace) -> Exit:
    """List hand-overs that are not over."""
    asyncio.run(_run(arguments))
    return Exit.OK


async def _run(arguments: argparse.Namespace) -> None:
    async with Client(session=arguments.session) as agent:
        found = await Continuations(agent).in_flight()
        if arguments.json:
            print_json([each._asdict() for each in found])
            return
        names: dict[str, str] = {}
        if found:
            with suppress(DistributedServiceFailed):  # peers are off: then by id
                names = {peer.device_id: called(peer) for peer in await Peers(agent).known()}
    if not found:
        print("Nothing is between two hosts.")
        return
    print(columns(_HEADER, [_as_row(each, names) for each in found]))
    if any(each.can_reclaim for each in found):
        print("\nTo take back what is in doubt: missionctl reclaim TRANSFER, after a look at the other host.")


def _as_row(found: InFlight, names: Mapping[str, str]) -> tuple[str, ...]:
    return (
        found.transfer[:_TRANSFER_SHOWN],
        "to" if found.role == "source" else "from",
        names.get(found.device_id) or found.device_id[:SHOWN] or "-",
        str(found.mission_id) if found.mission_id else "-",
        found.app_id or found.label or "-",
        found.phase + (", in doubt" if found.in_doubt else ""),
        found.reason or "-",
    )
