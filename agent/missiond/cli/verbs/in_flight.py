# SPDX-License-Identifier: Apache-2.0
"""missionctl in-flight, reclaim and drop: hand-overs of missions between two hosts."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

import missiond
from missiond.cli.agent import connected
from missiond.cli.devices import SHOWN
from missiond.cli.exit_codes import CommandError, Exit
from missiond.cli.output import columns, fields_of, print_json

_HEADER = ("TRANSFER", "WAY", "PEER", "MISSION", "APPLICATION", "PHASE", "WHY")
_TRANSFER_SHOWN = 12
"""Digits of a transfer; people rarely have two that begin with the same."""


def main(arguments: argparse.Namespace) -> Exit:
    """List the unfinished hand-overs, or take one back or discard one."""
    asyncio.run(_list(arguments) if arguments.verb == "in-flight" else _settle(arguments))
    return Exit.OK


async def _list(arguments: argparse.Namespace) -> None:
    async with connected(arguments, asks=False) as agent:
        found = await agent.moves()
        if arguments.json:
            print_json([fields_of(each) for each in found])
            return
        names: dict[str, str] = {}
        if found:
            with suppress(missiond.Failed):  # peers are off: then by id
                names = {peer.id: peer.label for peer in await agent.peers()}
    if not found:
        print("No unfinished hand-overs.")
        return
    print(columns(_HEADER, [_as_row(each, names) for each in found]))
    if any(each.can_reclaim for each in found):
        print("\nTo take back what is in doubt, after a look at the other host: missionctl reclaim TRANSFER")


async def _settle(arguments: argparse.Namespace) -> None:
    async with connected(arguments) as agent:
        found = find(await agent.moves(), arguments.transfer)
        await (found.reclaim() if arguments.verb == "reclaim" else found.drop())


def find(in_flight: Sequence[missiond.MoveInfo], word: str) -> missiond.MoveInfo:
    """Return the hand-over of an id or a beginning; raises CommandError for none or several."""
    found = [each for each in in_flight if each.transfer.startswith(word)]
    if len(found) == 1:
        return found[0]
    if found:
        raise CommandError(Exit.USAGE, f"{len(found)} transfers begin with {word}; give more digits")
    raise CommandError(Exit.NOT_FOUND, f"no hand-over begins with {word}; `missionctl in-flight` lists them")


def _as_row(found: missiond.MoveInfo, names: Mapping[str, str]) -> tuple[str, ...]:
    return (
        found.transfer[:_TRANSFER_SHOWN],
        "to" if found.role == "source" else "from",
        names.get(found.device_id) or found.device_id[:SHOWN] or "-",
        str(found.mission_id) if found.mission_id else "-",
        found.app_id or found.label or "-",
        found.phase + (", in doubt" if found.in_doubt else ""),
        found.reason or "-",
    )
