# SPDX-License-Identifier: Apache-2.0
"""missionctl remaining."""

from __future__ import annotations

import argparse
import asyncio

from missiond.cli.exits import CommandError, Exit
from missiond.cli.table import columns, print_json, span
from missiond.client import Client, TransientTaskInfo


def main(arguments: argparse.Namespace) -> Exit:
    """Show the time left to one transient task, or to all of missionctl's."""
    if arguments.task is not None:
        return _one(arguments)
    info = asyncio.run(_info(session=arguments.session))
    if arguments.json:
        tasks = [
            {"task": f"transient/{i}", "id": i, "remaining_ms": left} for i, left in info.transient_tasks
        ]
        print_json({"remaining_quota_ms": info.remaining_quota, "transient_tasks": tasks})
        return Exit.OK
    print(f"Quota left to missionctl: {span(info.remaining_quota)}")
    if info.transient_tasks:
        print(columns(("TASK", "LEFT"), [(f"transient/{i}", span(left)) for i, left in info.transient_tasks]))
    return Exit.OK


def _one(arguments: argparse.Namespace) -> Exit:
    kind, task_id = arguments.task
    if kind == "continuous":
        raise CommandError(
            Exit.USAGE,
            f"continuous/{task_id} has no end; only transient tasks have time left (see `missionctl tasks`)",
        )
    left = asyncio.run(_remaining(task_id, session=arguments.session))
    if arguments.json:
        print_json({"task": f"transient/{task_id}", "id": task_id, "remaining_ms": left})
    else:
        print(span(left))
    return Exit.OK


async def _info(*, session: bool) -> TransientTaskInfo:
    async with Client(session=session) as agent:
        return await agent.get_transient_task_info()


async def _remaining(task_id: int, *, session: bool) -> int:
    async with Client(session=session) as agent:
        return await agent.get_remaining_delay_time(task_id)
