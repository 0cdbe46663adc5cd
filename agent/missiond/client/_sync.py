# SPDX-License-Identifier: Apache-2.0
"""Tasks for a block of a program, with or without an event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, TypedDict, TypeVar, Unpack

from missiond.client._agent import Agent, warn
from missiond.client._bus import ConnectionSettings
from missiond.client._errors import Failed, Unreachable
from missiond.client._task_infos import DelayInfo, TaskInfo
from missiond.client._tasks import Delay, Held, Starting, Task
from missiond.client._types import Inhibit, KeepAlive, Modes, Span

Value = TypeVar("Value")
Blocking = TypeVar("Blocking")


class TaskOptions(TypedDict, total=False):
    """Options of a continuous task; see Agent.keep_awake."""

    mode: Modes
    at_most: Span | None
    context: str | None
    pid: int | None
    keep_alive: KeepAlive | None
    text: str | None
    inhibit: Iterable[Inhibit]
    on_click: Mapping[str, Any] | None


def keep_awake(
    reason: str = "", *, required: bool = True, session: bool = False, **options: Unpack[TaskOptions]
) -> Block[Task, BlockingTask]:
    """Keep the host awake for a block.

        with missiond.keep_awake("nightly copy", mode="data-transfer") as task:
            for done in copy():
                task.progress = done  # per cent

    With an event loop: `async with`. Options are those of Agent.keep_awake; `session`: the agent on the
    session bus.

    Raises an Error where the task can't be had; with `required=False` that is one warning (NotKeptAwake),
    unless it is a mistake of the program's (Invalid), and the block runs without. RuntimeError: `with` in a
    thread that runs an event loop.
    """
    return Block(
        Agent(ConnectionSettings(session=session), listens=False),
        lambda agent: agent.keep_awake(reason, required=required, **options),
        Agent.no_task,
        BlockingTask,
        required=required,
    )


def delay_sleep(
    reason: str,
    *,
    at_most: Span | None = None,
    pid: int | None = None,
    required: bool = True,
    session: bool = False,
) -> Block[Delay, BlockingDelay]:
    """Keep the host awake for a while: `with missiond.delay_sleep("saving", at_most=60) as delay`.

    It comes out of a quota of this application.

        with missiond.delay_sleep("saving", at_most=60) as delay:
            save(timeout=delay.remaining)  # seconds

    Everything else is as of `keep_awake`; the options are those of Agent.delay_sleep.
    """
    return Block(
        Agent(ConnectionSettings(session=session), listens=False),
        lambda agent: agent.delay_sleep(reason, at_most=at_most, pid=pid, required=required),
        Agent.no_delay,
        BlockingDelay,
        required=required,
    )


class Block(Generic[Held, Blocking]):
    """A task for one block, with a connection of its own; for `with` and `async with`, once."""

    def __init__(
        self,
        agent: Agent,
        begin: Callable[[Agent], Starting[Held]],
        without: Callable[[Agent], Held],
        face: Callable[[Loop, Held], Blocking],
        *,
        required: bool,
    ) -> None:
        self._agent = agent
        self._begin = begin
        self._without = without
        self._face = face
        self._required = required
        self._starting: Starting[Held] | None = None
        self._loop: Loop | None = None

    async def __aenter__(self) -> Held:
        self._agent.listen()
        return await self._enter()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._starting is not None:
                await self._starting.__aexit__(kind, error, trace)
        finally:
            await self._agent.__aexit__(kind, error, trace)

    def __enter__(self) -> Blocking:
        self._loop = Loop()
        try:
            return self._face(self._loop, self._loop.run(self._enter()))
        except BaseException:
            self._loop.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = self._loop
        if loop is None or loop.is_copy:
            return
        try:
            loop.run(self.__aexit__(kind, error, trace))
        finally:
            loop.close()

    async def _enter(self) -> Held:
        try:
            await self._agent.__aenter__()
        except Unreachable as error:
            if self._required:
                raise
            warn(error)
            return self._without(self._agent)
        starting = self._begin(self._agent)
        try:
            held = await starting.__aenter__()
        except BaseException:
            await self._agent.__aexit__(None, None, None)
            raise
        self._starting = starting
        return held


class Loop:
    """An event loop that runs for one call after another, and not in between.

    In between nobody reads from the connection: nothing is subscribed to, so nothing comes.
    """

    def __init__(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RuntimeError("an event loop runs in this thread; use `async with`")
        self._runner = asyncio.Runner()
        self._pid = os.getpid()

    @property
    def is_copy(self) -> bool:
        """Whether this process is a fork of the one that the task belongs to, and leaves it alone."""
        return os.getpid() != self._pid

    def run(self, work: Coroutine[Any, Any, Value]) -> Value:
        """Do something; raises RuntimeError in a copy of the process."""
        if self.is_copy:
            work.close()
            raise RuntimeError("the task belongs to the process that this one was forked from")
        return self._runner.run(work)

    def close(self) -> None:
        """End the loop."""
        if not self.is_copy:
            self._runner.close()


class BlockingTask:
    """A continuous task of this program; see Task."""

    def __init__(self, loop: Loop, task: Task) -> None:
        self._loop = loop
        self._task = task
        self.id = task.id
        self.context = task.context

    @property
    def held(self) -> bool:
        """Whether there is a task, as far as the agent has told when it was last spoken to."""
        return self._task.held

    @property
    def progress(self) -> int:
        """Per cent of the work that are done, 0 to 100, for lists and notifications; of a data transfer.

        Setting it raises Invalid and Refused (the mode is another one); without an agent it does nothing.
        """
        return self._task.progress

    @progress.setter
    def progress(self, percent: float) -> None:
        before = self._task.progress
        if int(percent) != before or not 0 <= percent <= 100:
            with suppress(Failed, Unreachable):  # nothing that work has to stop for
                self.report(percent)

    def report(
        self, percent: float | None = None, *, title: str | None = None, file_name: str | None = None
    ) -> None:
        """Tell how far a data transfer is; raises as Task.report."""
        self._loop.run(self._task.report(percent, title=title, file_name=file_name))

    def update(self, mode: Modes) -> None:
        """Give the task other modes, without a gap in its lock; raises Refused where it is over."""
        self._loop.run(self._task.update(mode))

    def stop(self) -> None:
        """End the task before the block ends; raises Refused where it is over."""
        self._loop.run(self._task.stop())

    def info(self) -> TaskInfo:
        """Return what the agent knows of it; raises NotFound where it is over."""
        return self._loop.run(self._task.info())


class BlockingDelay:
    """A transient task of this program; see Delay. `granted`: seconds."""

    def __init__(self, loop: Loop, delay: Delay) -> None:
        self._loop = loop
        self._delay = delay
        self.id = delay.id
        self.granted = delay.granted

    @property
    def held(self) -> bool:
        """Whether there is a task: False without one, and once its time is over."""
        return self._delay.held

    @property
    def remaining(self) -> float:
        """Seconds until it ends, asked of the agent: a low battery makes them fewer; 0 once it is over."""
        if not self.held:
            return 0.0
        return self._loop.run(self._delay.left())

    def cancel(self) -> None:
        """End it before the block ends; raises NotFound where it is over."""
        self._loop.run(self._delay.cancel())

    def info(self) -> DelayInfo:
        """Return what the agent knows of it; raises NotFound where it is over."""
        return self._loop.run(self._delay.info())
