# SPDX-License-Identifier: Apache-2.0
"""missionctl lock and unlock."""

from __future__ import annotations

import argparse
import asyncio

from missiond.cli.agent import connected
from missiond.cli.exit_codes import Exit


def main(arguments: argparse.Namespace, *, locked: bool = True) -> Exit:
    """Mark missions, in the order given; the first that cannot be marked ends it all."""
    asyncio.run(_mark(arguments, locked=locked))
    return Exit.OK


async def _mark(arguments: argparse.Namespace, *, locked: bool) -> None:
    async with connected(arguments) as agent:
        for mission in dict.fromkeys(arguments.missions):
            await (agent.missions.lock(mission) if locked else agent.missions.unlock(mission))
