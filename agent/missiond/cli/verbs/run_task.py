# SPDX-License-Identifier: Apache-2.0
"""Task of missionctl run, and the command's registration as a mission."""

from __future__ import annotations

import argparse
import asyncio

import missiond
from missiond.cli.agent import PATIENCE, connected
from missiond.cli.exit_codes import CommandError, Exit
from missiond.cli.parser.values import any_text
from missiond.cli.stdio import complain
from missiond.cli.verbs.delay import less_than_asked, seconds
from missiond.cli.verbs.run import find

SHORT_PATIENCE = 2.0
"""Seconds until a command no longer waits for an agent without an answer to Ping."""


def hold(arguments: argparse.Namespace, name: str, pid: int) -> str:
    """Hold the task for a process; return the reason for a missing lock, else an empty text.

    Raises CommandError for what the caller has to put right, and as missiond.Agent does.
    """
    try:
        return asyncio.run(_hold(arguments, name, pid))
    except (missiond.Invalid, missiond.Denied) as error:
        if isinstance(error, missiond.Denied) and error.code is not missiond.Code.NOT_SYSTEM_APP:
            raise
        text = f"{arguments.command[0]} was not started: {error.text}"
        raise CommandError(Exit.NOT_STARTED, text) from error


async def _hold(arguments: argparse.Namespace, name: str, pid: int) -> str:
    title = arguments.title or any_text(name)
    # a service runs already
    patient = arguments.require or arguments.keep_alive == "restart"
    async with connected(arguments, patience=PATIENCE if patient else SHORT_PATIENCE) as agent:
        registering = asyncio.ensure_future(_register(agent, pid, title, arguments))
        try:
            if arguments.delay is not None:
                delay = await agent.delay_sleep(title, pid=pid, at_most=seconds(arguments.delay))
                if less := less_than_asked(arguments.delay, delay):
                    complain(f"warning: {less}; without --delay it is for as long as the command runs")
                return await _missing(agent, delay)
            task = await agent.keep_awake(
                title,
                mode=arguments.modes or missiond.Mode.TASK_KEEPING,
                pid=pid,
                context=await _context(agent, arguments),
                keep_alive=arguments.keep_alive,
            )
            return await _missing(agent, task)
        finally:
            await registering


async def _context(agent: missiond.Agent, arguments: argparse.Namespace) -> str:
    """Return a name unique to this run; in pid namespaces, many processes have one number."""
    if arguments.context is not None:
        return str(arguments.context)
    return f"run-{arguments.name or await agent.own_pid()}"


async def _register(agent: missiond.Agent, pid: int, label: str, arguments: argparse.Namespace) -> None:
    """Make it a mission of this name; where that can't be had, the task matters more."""
    program, *words = arguments.command
    try:
        if arguments.continuable:  # the same program there, whatever its PATH is
            program = find(program)
        described = missiond.description_of(
            program, words, pid=pid, label=label, can_move=arguments.continuable
        )
        await agent.missions.register(**described)
    except Exception as error:  # noqa: BLE001 - whatever it is, the task matters more
        if arguments.continuable:
            text = error.text if isinstance(error, missiond.Error) else error
            complain(f"warning: {arguments.command[0]} can't continue on another host: {text}")


async def _missing(agent: missiond.Agent, task: missiond.Task | missiond.Delay) -> str:
    """Return why a task has no lock at this moment, in the agent's words; empty where it has one."""
    try:
        if (await task.info()).locked:
            return ""
    except missiond.NotFound:  # a delay so short that it is over
        return ""
    sentences = (await agent.status()).degraded
    return "; ".join(sentences) or "logind gives no lock at this moment; the agent keeps asking"
