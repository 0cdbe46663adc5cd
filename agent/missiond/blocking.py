# SPDX-License-Identifier: Apache-2.0
"""Tasks for programs without an event loop.

    with background_running([BackgroundMode.DATA_TRANSFER], title="nightly copy"):
        copy()

The task ends with the block, and with the program, however that ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, Unpack

from missiond.client import AgentUnreachable, BackgroundMode, Client, SuspendDelay, Task, TaskOptions
from missiond.errors import AgentError

__all__ = ["BackgroundMode", "background_running", "suspend_delay"]

Value = TypeVar("Value")


@contextmanager
def suspend_delay(reason: str, *, delay: int | None = None, session: bool = False) -> Iterator[SuspendDelay]:
    """Hold a transient task for the block, for up to `delay` ms (the most, where left out).

    Raises AgentError, AgentUnreachable, and RuntimeError in a thread that runs an event loop.
    """
    with _held(
        Client(session=session),
        lambda agent: agent.request_suspend_delay(reason, delay=delay),
        lambda agent, granted: agent.cancel_suspend_delay(granted.request_id),
    ) as granted:
        yield granted


@contextmanager
def background_running(
    modes: Iterable[BackgroundMode | str], *, session: bool = False, **options: Unpack[TaskOptions]
) -> Iterator[Task]:
    """Hold a continuous task for the block; raises as suspend_delay."""
    context, pid = options.get("context"), options.get("pid")
    with _held(
        Client(session=session),
        lambda agent: agent.start_background_running(modes, **options),
        lambda agent, _: agent.stop_background_running(context=context, pid=pid),
    ) as task:
        yield task


@contextmanager
def _held(
    client: Client,
    begin: Callable[[Client], Coroutine[Any, Any, Value]],
    end: Callable[[Client, Value], Coroutine[Any, Any, None]],
) -> Iterator[Value]:
    """Begin and end on one connection, with a loop of its own that runs for these two calls only.

    In between nobody reads from the connection: nothing is subscribed to, so nothing comes.
    """
    _check_no_loop()
    with asyncio.Runner() as runner:
        runner.run(client.__aenter__())
        try:
            value = runner.run(begin(client))
            try:
                yield value
            finally:
                # Over already (expired, cancelled, agent stopped): that is what was wanted.
                with suppress(AgentError, AgentUnreachable):
                    runner.run(end(client, value))
        finally:
            runner.run(client.__aexit__(None, None, None))


def _check_no_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("an event loop runs in this thread; use missiond.client")
