# SPDX-License-Identifier: Apache-2.0
"""missionctl remaining."""

from __future__ import annotations

import argparse
import asyncio

import missiond
from missiond.cli.agent import connected
from missiond.cli.exit_codes import CommandError, Exit
from missiond.cli.output import columns, milliseconds, print_json, span


def main(arguments: argparse.Namespace) -> Exit:
    """Show the time left to one transient task, or to all of missionctl's."""
    if arguments.task is not None:
        return _one(arguments)
    quota = asyncio.run(_quota(arguments))
    left = milliseconds(quota.remaining)
    delays = {number: milliseconds(remaining) for number, remaining in quota.delays.items()}
    if arguments.json:
        tasks = [{"task": f"transient/{i}", "id": i, "remaining_ms": ms} for i, ms in delays.items()]
        print_json({"remaining_quota_ms": left, "transient_tasks": tasks})
        return Exit.OK
    print(f"Quota left to missionctl: {span(left)}")
    if delays:
        print(columns(("TASK", "LEFT"), [(f"transient/{i}", span(ms)) for i, ms in delays.items()]))
    return Exit.OK


def _one(arguments: argparse.Namespace) -> Exit:
    kind, task_id = arguments.task
    if kind == "continuous":
        raise CommandError(
            Exit.USAGE,
            f"continuous/{task_id} has no end; only transient tasks have time left (see `missionctl tasks`)",
        )
    left = asyncio.run(_remaining(task_id, arguments))
    if arguments.json:
        print_json({"task": f"transient/{task_id}", "id": task_id, "remaining_ms": left})
    else:
        print(span(left))
    return Exit.OK


async def _quota(arguments: argparse.Namespace) -> missiond.QuotaInfo:
    async with connected(arguments, asks=False) as agent:
        return await agent.quota()


async def _remaining(task_id: int, arguments: argparse.Namespace) -> int:
    async with connected(arguments, asks=False) as agent:
        return milliseconds(await agent.remaining(task_id))
