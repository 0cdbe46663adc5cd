# SPDX-License-Identifier: Apache-2.0
"""missionctl lock, unlock and terminate."""

from __future__ import annotations

import argparse
import asyncio

import missiond
from missiond.cli.agent import connected
from missiond.cli.exit_codes import CommandError, Exit


def main(arguments: argparse.Namespace) -> Exit:
    """Lock, unlock or end missions in the order given; none of the missions after an error."""
    asyncio.run(_manage(arguments))
    return Exit.OK


async def _manage(arguments: argparse.Namespace) -> None:
    missions = list(dict.fromkeys(arguments.missions))
    async with connected(arguments) as agent:
        if len(missions) > 1:
            await _check(agent, missions, may_be_locked=arguments.verb != "terminate")
        manage = getattr(agent.missions, arguments.verb)
        for mission in missions:
            await manage(mission)


async def _check(agent: missiond.Agent, missions: list[int], *, may_be_locked: bool) -> None:
    """Raise an error for the first mission that does not exist, is another user's, or is locked."""
    for number in missions:
        found = await agent.missions.details(number)
        if found.mission.locked and not may_be_locked:
            text = f"mission {number} is locked; unlock it first, with `missionctl unlock {number}`"
            raise CommandError(Exit.DENIED, text)
