# SPDX-License-Identifier: Apache-2.0
"""missionctl cancel."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from missiond.cli.exits import CommandError, Exit
from missiond.cli.live import live_tasks
from missiond.cli.parser import TASK_KINDS
from missiond.client import Client

Named = tuple[str | None, int]


def main(arguments: argparse.Namespace) -> Exit:
    """End tasks, in the order given; the first that cannot be ended ends it all."""
    asyncio.run(_cancel(arguments.tasks, session=arguments.session))
    return Exit.OK


async def _cancel(named: Sequence[Named], *, session: bool) -> None:
    async with Client(session=session, interactive=sys.stdin.isatty()) as agent:
        live = {(task.kind, task.id) for task in await live_tasks(agent)}
        for kind, task_id in [choose(live, one) for one in dict.fromkeys(named)]:
            if kind == "transient":
                await agent.cancel_suspend_delay(task_id)
            else:
                await agent.cancel_continuous_task(task_id)


def choose(live: set[tuple[str, int]], named: Named) -> tuple[str, int]:
    """Find the live task that is meant; raises CommandError where there is none, or two."""
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
