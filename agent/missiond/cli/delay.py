# SPDX-License-Identifier: Apache-2.0
"""missionctl delay."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from contextlib import suppress

from missiond.cli.exits import Exit
from missiond.cli.table import print_json, span
from missiond.client import AgentUnreachable, Client, Signals, SuspendDelay
from missiond.errors import AgentError, CallerVerificationFailed

GRACE = 5.0
"""Seconds after its time in which the end of a request must have been told."""
_ENDED_BY_BATTERY = ("battery-low", "battery-critical")


def main(arguments: argparse.Namespace) -> int:
    """Request a transient task for the caller, and with --wait stay until it ends."""
    return asyncio.run(_wait(arguments) if arguments.wait else _delay(arguments))


async def _delay(arguments: argparse.Namespace) -> int:
    pid = os.getppid() if arguments.pid is None else arguments.pid
    async with Client(session=arguments.session, interactive=sys.stdin.isatty()) as agent:
        granted = await agent.request_suspend_delay(arguments.reason, pid=pid, delay=arguments.delay)
    _tell(arguments, granted, pid)
    return Exit.OK


async def _wait(arguments: argparse.Namespace) -> int:
    async with (
        Client(session=arguments.session, interactive=sys.stdin.isatty()) as agent,
        agent.signals("SuspendDelayEnded") as ended,
    ):
        terminated = _cancelled_by_sigterm()
        asking = agent.request_suspend_delay(arguments.reason, pid=arguments.pid, delay=arguments.delay)
        request = asyncio.ensure_future(asking)
        try:
            granted = await asyncio.shield(request)
            _tell(arguments, granted, arguments.pid or os.getpid())
            cause = await _cause(agent, ended, granted)
        except asyncio.CancelledError:
            await _undo(agent, request)
            if terminated.is_set():
                return 128 + signal.SIGTERM
            raise
    if not arguments.json:
        print(f"transient/{granted.request_id} ended: {cause}")
    return Exit.REFUSED if cause in _ENDED_BY_BATTERY else Exit.OK


def _cancelled_by_sigterm() -> asyncio.Event:
    """Have SIGTERM cancel the running task, as asyncio.run has SIGINT do; the event tells that it was."""
    task = asyncio.current_task()
    terminated = asyncio.Event()

    def terminate() -> None:
        terminated.set()
        if task is not None:
            task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    return terminated


async def _undo(agent: Client, request: asyncio.Future[SuspendDelay]) -> None:
    """End the request, also one that the agent has not answered yet."""
    with suppress(AgentError, AgentUnreachable):
        await agent.cancel_suspend_delay((await request).request_id)


async def _cause(agent: Client, ended: Signals, granted: SuspendDelay) -> str:
    """Why the request ended; raises AgentUnreachable where nobody is left to tell."""
    remaining = granted.actual_delay_time
    while True:
        try:
            async with asyncio.timeout(remaining / 1000 + GRACE):
                async for request_id, cause in ended:
                    if request_id == granted.request_id:
                        return str(cause)
        except TimeoutError:
            # Nobody told us: the agent was away when it ended, or still is.
            try:
                remaining = await agent.get_remaining_delay_time(granted.request_id)
            except CallerVerificationFailed:
                return "expired"


def _tell(arguments: argparse.Namespace, granted: SuspendDelay, pid: int) -> None:
    name = f"transient/{granted.request_id}"
    if arguments.json:
        print_json(
            {"task": name, "id": granted.request_id, "granted_ms": granted.actual_delay_time, "pid": pid}
        )
    else:
        print(name, span(granted.actual_delay_time))
    sys.stdout.flush()
