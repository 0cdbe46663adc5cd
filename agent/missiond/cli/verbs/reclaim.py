# SPDX-License-Identifier: Apache-2.0
"""missionctl reclaim."""

from __future__ import annotations

import argparse
import asyncio

from missiond.cli.agent import connected
from missiond.cli.exit_codes import Exit
from missiond.cli.transfers import find


def main(arguments: argparse.Namespace) -> Exit:
    """Have a mission be this host's again."""
    asyncio.run(_reclaim(arguments))
    return Exit.OK


async def _reclaim(arguments: argparse.Namespace) -> None:
    async with connected(arguments) as agent:
        await find(await agent.moves(), arguments.transfer).reclaim()
