# SPDX-License-Identifier: Apache-2.0
"""missionctl terminate."""

from __future__ import annotations

import argparse
import asyncio
import sys

from missiond.cli.exits import Exit
from missiond.client import Client
from missiond.client_missions import Missions


def main(arguments: argparse.Namespace) -> Exit:
    """Have missions end, in the order given; the first that cannot be ended stops it."""
    asyncio.run(_terminate(arguments))
    return Exit.OK


async def _terminate(arguments: argparse.Namespace) -> None:
    async with Client(session=arguments.session, interactive=sys.stdin.isatty()) as agent:
        for mission in dict.fromkeys(arguments.missions):
            await Missions(agent).terminate(mission)
