# SPDX-License-Identifier: Apache-2.0
"""missionctl delay."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys

import missiond
from missiond.cli.agent import connected
from missiond.cli.caller import CallingShell, caller
from missiond.cli.exit_codes import CommandError, Exit
from missiond.cli.output import milliseconds, print_json, span
from missiond.cli.stdio import complain

_ENDED_BY_BATTERY = ("battery-low", "battery-critical")


def main(arguments: argparse.Namespace) -> int:
    """Request a transient task for the caller; with --wait stay until the end."""
    return asyncio.run(_wait(arguments) if arguments.wait else _delay(arguments))


async def _delay(arguments: argparse.Namespace) -> int:
    named = arguments.pid is not None
    owner = CallingShell(arguments.pid, "", is_shell=True) if named else caller()
    if not owner.pid:
        text = "what called missionctl can't be seen from this pid namespace; use --wait, or --pid"
        raise CommandError(Exit.USAGE, text)
    async with connected(arguments) as agent:
        try:
            delay = await agent.delay_sleep(arguments.reason, pid=owner.pid, at_most=seconds(arguments.delay))
        except missiond.Denied as error:
            if named or not error.by_polkit:
                raise
            text = f"it would be for process {owner.pid} ({owner.name}), which is another user's"
            raise CommandError(Exit.DENIED, f"{text}; use --wait, or --pid for one of yours (201)") from None
        if not owner.is_shell:
            complain(
                f"warning: it ends with process {owner.pid} ({owner.name}), which is no shell; "
                "--pid is for another one"
            )
        try:
            _tell(arguments, delay, owner.pid)
        except OSError:  # nobody will know of it
            await delay.cancel()
            raise
    return Exit.OK


async def _wait(arguments: argparse.Namespace) -> int:
    async with connected(arguments) as agent:
        terminated = cancelled_by_sigterm()
        try:
            async with agent.delay_sleep(
                arguments.reason, pid=arguments.pid, at_most=seconds(arguments.delay)
            ) as delay:
                _tell(arguments, delay, arguments.pid or os.getpid())
                cause = await delay.wait()
        except asyncio.CancelledError:
            if terminated.is_set():
                return 128 + signal.SIGTERM
            raise
    if not arguments.json:
        print(f"transient/{delay.id} ended: {cause}")
    return Exit.REFUSED if cause in _ENDED_BY_BATTERY else Exit.OK


def cancelled_by_sigterm() -> asyncio.Event:
    """Let SIGTERM cancel the running task, as SIGINT does under asyncio.run; the event is set then."""
    task = asyncio.current_task()
    terminated = asyncio.Event()

    def terminate() -> None:
        terminated.set()
        if task is not None:
            task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    return terminated


def _tell(arguments: argparse.Namespace, delay: missiond.Delay, pid: int) -> None:
    if less := less_than_asked(arguments.delay, delay):
        complain(f"warning: {less}; for longer: `missionctl hold {span(arguments.delay)}`")
    name, granted = f"transient/{delay.id}", milliseconds(delay.granted)
    if arguments.json:
        print_json({"task": name, "id": delay.id, "granted_ms": granted, "pid": pid})
    else:
        print(name, span(granted))
    sys.stdout.flush()


def less_than_asked(asked: int | None, delay: missiond.Delay) -> str:
    """Return a sentence such as `3min of 9h is all there is`; empty for a full grant."""
    granted = milliseconds(delay.granted)
    if asked is None or granted >= asked:
        return ""
    return f"{span(granted)} of {span(asked)} is all there is"


def seconds(span_ms: int | None) -> float | None:
    """Return ms of the command line as seconds for the client."""
    return None if span_ms is None else span_ms / 1000
