# SPDX-License-Identifier: Apache-2.0
"""missionctl lock and unlock."""

from __future__ import annotations

import argparse
import asyncio
import sys

from missiond.cli.exits import Exit
from missiond.client import Client
from missiond.client_missions import Missions


def main(arguments: argparse.Namespace, *, locked: bool = True) -> Exit:
    """Mark missions, in the order given; the first that cannot be marked ends it all."""
    asyncio.run(_mark(arguments, locked=locked))
    return Exit.OK


async def _mark(arguments: argparse.Namespace, *, locked: bool) -> None:
    async with Client(session=arguments.session, interactive=sys.stdin.isatty()) as agent:
        for mission in dict.fromkeys(arguments.missions):
            await Missions(agent).lock(mission, locked=locked)
