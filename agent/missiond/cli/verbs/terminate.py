# SPDX-License-Identifier: Apache-2.0
"""missionctl terminate."""

from __future__ import annotations

import argparse
import asyncio

from missiond.cli.agent import connected
from missiond.cli.exit_codes import Exit


def main(arguments: argparse.Namespace) -> Exit:
    """Have missions end, in the order given; the first that cannot be ended stops it."""
    asyncio.run(_terminate(arguments))
    return Exit.OK


async def _terminate(arguments: argparse.Namespace) -> None:
    async with connected(arguments) as agent:
        for mission in dict.fromkeys(arguments.missions):
            await agent.missions.terminate(mission)
