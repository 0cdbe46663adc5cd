# SPDX-License-Identifier: Apache-2.0
"""missionctl drop."""

from __future__ import annotations

import argparse
import asyncio
import sys

from missiond.cli.exits import Exit
from missiond.cli.transfers import find
from missiond.client import Client
from missiond.client_continuations import Continuations


def main(arguments: argparse.Namespace) -> Exit:
    """Give a hand-over up."""
    asyncio.run(_drop(arguments))
    return Exit.OK


async def _drop(arguments: argparse.Namespace) -> None:
    async with Client(session=arguments.session, interactive=sys.stdin.isatty()) as agent:
        continuations = Continuations(agent)
        await continuations.drop(find(await continuations.in_flight(), arguments.transfer).transfer)
