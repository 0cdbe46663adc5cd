# SPDX-License-Identifier: Apache-2.0
"""missionctl cancel."""

from __future__ import annotations

import argparse
import asyncio

from missiond.cli.agent import connected
from missiond.cli.exit_codes import CommandError, Exit
from missiond.cli.parser.values import TASK_KINDS

Named = tuple[str | None, int]


def main(arguments: argparse.Namespace) -> Exit:
    """End tasks in the order given, up to the first failure."""
    asyncio.run(_cancel(arguments))
    return Exit.OK


async def _cancel(arguments: argparse.Namespace) -> None:
    async with connected(arguments) as agent:
        live = {(task.kind, task.id): task for task in await agent.tasks()}
        for key in [choose(set(live), one) for one in dict.fromkeys(arguments.tasks)]:
            await live[key].cancel()


def choose(live: set[tuple[str, int]], named: Named) -> tuple[str, int]:
    """Return the live task of a name; raises CommandError for none, or two."""
    kind, task_id = named
    found = [(k, task_id) for k in ((kind,) if kind else TASK_KINDS) if (k, task_id) in live]
    if not found:
        name = f"{kind}/{task_id}" if kind else str(task_id)
        raise CommandError(Exit.NOT_FOUND, f"there is no task {name}; see `missionctl tasks --all`")
    if len(found) > 1:
        raise CommandError(
            Exit.USAGE, f"there are two tasks {task_id}; say transient/{task_id} or continuous/{task_id}"
        )
    return found[0]
