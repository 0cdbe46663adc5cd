# SPDX-License-Identifier: Apache-2.0
"""missionctl hold: stay awake for a time, until running programs end, or until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from contextlib import suppress

import missiond
from missiond.cli.agent import connected
from missiond.cli.caller import caller
from missiond.cli.exit_codes import CommandError, Exit
from missiond.cli.output import print_json
from missiond.cli.verbs.delay import cancelled_by_sigterm, seconds


def main(arguments: argparse.Namespace) -> Exit:
    """Hold a task for each process, and without --background wait until all are over."""
    asyncio.run(_run(arguments))
    return Exit.OK


async def _run(arguments: argparse.Namespace) -> None:
    async with connected(arguments) as agent:
        terminated = cancelled_by_sigterm()
        held: list[missiond.Task] = []
        try:
            for pid in _owners(arguments):
                held.append(await _hold(agent, pid, arguments))  # noqa: PERF401 - one by one: some may be refused
            _tell(held, arguments)
            if not arguments.background:
                await _ended(held)
        except BaseException:
            await _undo(held)
            if terminated.is_set():
                raise SystemExit(128 + signal.SIGTERM) from None
            raise


async def _undo(held: list[missiond.Task]) -> None:
    for task in held:
        with suppress(missiond.Error):  # it is over already
            await task.cancel()


def _owners(arguments: argparse.Namespace) -> list[int]:
    if arguments.pids:
        return list(dict.fromkeys(pid for some in arguments.pids for pid in some))
    if not arguments.background:
        return [os.getpid()]
    owner = caller()
    if not owner.is_shell:
        text = (
            f"process {owner.pid} ({owner.name}), which called missionctl, is no shell; name one with --pid"
        )
        raise CommandError(Exit.USAGE, text)
    return [owner.pid]


async def _hold(agent: missiond.Agent, pid: int, arguments: argparse.Namespace) -> missiond.Task:
    return await agent.keep_awake(
        arguments.title or "missionctl hold",
        mode=arguments.modes or missiond.Mode.TASK_KEEPING,
        at_most=seconds(arguments.time if arguments.until is None else arguments.until),
        pid=pid,
        context=f"hold-{await agent.own_pid()}-{pid}",
        keep_alive="none",
    )


def _tell(held: list[missiond.Task], arguments: argparse.Namespace) -> None:
    names = [f"continuous/{task.id}" for task in held]
    if arguments.json:
        print_json(names)
    else:
        print(*names, sep="\n")
    sys.stdout.flush()  # what can't be told is not held either


async def _ended(held: list[missiond.Task]) -> None:
    """Return once none of them is there any more."""
    for task in held:
        if await task.wait() == "lost":
            text = f"continuous/{task.id} is lost: the agent was started again and does not know it"
            raise CommandError(Exit.FAILURE, text)
