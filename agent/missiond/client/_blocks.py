# SPDX-License-Identifier: Apache-2.0
"""Tasks for a block of a program, with or without an event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypedDict, TypeVar, Unpack

from missiond.client._agent import Agent
from missiond.client._bus import ConnectionSettings
from missiond.client._errors import Unreachable, warn
from missiond.client._loop import Loop
from missiond.client._task_infos import DelayInfo, TaskInfo
from missiond.client._tasks import Delay, Held, Starting, Task
from missiond.client._types import Inhibit, KeepAlive, Modes, Span
from missiond.errors import ContinuousTaskVerificationFailed, Failed

Blocking = TypeVar("Blocking")


class TaskOptions(TypedDict, total=False):
    """Options of a continuous task; see Agent.keep_awake."""

    mode: Modes
    at_most: Span | None
    context: str | None
    pid: int | None
    keep_alive: KeepAlive | None
    text: str | None
    inhibit: Inhibit | Iterable[Inhibit]
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
        ConnectionSettings(session=session),
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
        ConnectionSettings(session=session),
        lambda agent: agent.delay_sleep(reason, at_most=at_most, pid=pid, required=required),
        Agent.no_delay,
        BlockingDelay,
        required=required,
    )


class Block(Generic[Held, Blocking]):
    """Task for one block, with a separate connection; for `with` and `async with`, once."""

    def __init__(
        self,
        settings: ConnectionSettings,
        start: Callable[[Agent], Starting[Held]],
        without: Callable[[Agent], Held],
        face: Callable[[Loop, Held], Blocking],
        *,
        required: bool,
    ) -> None:
        self._settings = settings
        self._start = start
        self._without = without
        self._face = face
        self._required = required
        self._agent: Agent | None = None
        self._starting: Starting[Held] | None = None
        self._loop: Loop | None = None

    async def __aenter__(self) -> Held:
        return await self._enter(self._connection(listens=True))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    def __enter__(self) -> Blocking:
        agent, loop = self._connection(listens=False), Loop()
        try:
            held = self._face(loop, loop.run(partial(self._enter, agent)))
            self._loop = loop
        except BaseException:
            self._end(loop)
            raise
        return held

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None:
            self._end(self._loop)

    def _connection(self, *, listens: bool) -> Agent:
        if self._agent is not None:
            raise RuntimeError("a block is entered once; ask for another task")
        self._agent = Agent(self._settings, listens=listens)
        return self._agent

    def _end(self, loop: Loop) -> None:
        if loop.is_copy:
            return
        try:
            loop.run(self._leave, cancels=False)
        finally:
            loop.close()

    async def _enter(self, agent: Agent) -> Held:
        try:
            await agent.__aenter__()
        except Unreachable as error:
            if self._required:
                raise
            warn(error)
            return self._without(agent)
        starting = self._start(agent)
        try:
            held = await starting.__aenter__()
        except BaseException:
            await agent.__aexit__(None, None, None)
            raise
        self._starting = starting
        return held

    async def _leave(self) -> None:
        try:
            if self._starting is not None:
                await self._starting.__aexit__(None, None, None)
        finally:
            if self._agent is not None:
                await self._agent.__aexit__(None, None, None)


class BlockingTask:
    """A continuous task of this program; see Task."""

    def __init__(self, loop: Loop, task: Task) -> None:
        self._loop = loop
        self._task = task
        self.name = task.name
        self.id = task.id
        self.context = task.context

    @property
    def held(self) -> bool:
        """Whether the task is live, by the agent's last answer; False in a fork."""
        return self._task.held

    @property
    def progress(self) -> int:
        """Finished part of a data transfer in per cent, 0 to 100, for lists and notifications.

        Setting it raises Invalid and Refused (the mode is another one); it does nothing without an agent, and
        once the task has ended, by `missionctl cancel` for example.
        """
        return self._task.progress

    @progress.setter
    def progress(self, percent: float) -> None:
        before = self._task.progress
        if int(percent) != before or not 0 <= percent <= 100:
            # nothing that work has to stop for
            with suppress(Failed, Unreachable, ContinuousTaskVerificationFailed):
                self.report(percent)

    def __repr__(self) -> str:
        return repr(self._task)

    def report(
        self, percent: float | None = None, *, title: str | None = None, file_name: str | None = None
    ) -> None:
        """Tell how far a data transfer is; raises as Task.report."""
        self._loop.run(partial(self._task.report, percent, title=title, file_name=file_name))

    def update(self, mode: Modes) -> None:
        """Change the task's modes without a gap in the lock; raises Refused for an ended task."""
        self._loop.run(partial(self._task.update, mode))

    def stop(self) -> None:
        """End the task before the block ends; raises Refused for an ended task."""
        self._loop.run(self._task.stop)

    def info(self) -> TaskInfo:
        """Return the agent's description of the task; raises NotFound for an ended task."""
        return self._loop.run(self._task.info)


class BlockingDelay:
    """A transient task of this program; see Delay. `granted`: seconds."""

    def __init__(self, loop: Loop, delay: Delay) -> None:
        self._loop = loop
        self._delay = delay
        self.name = delay.name
        self.id = delay.id
        self.granted = delay.granted

    @property
    def held(self) -> bool:
        """Whether the delay is live: False without one, after the end, and in a fork."""
        return self._delay.held

    @property
    def remaining(self) -> float:
        """Remaining seconds, asked of the agent (a low battery shortens a delay); 0 after the end."""
        if not self.held:
            return 0.0
        return self._loop.run(self._delay.left)

    def __repr__(self) -> str:
        return repr(self._delay)

    def cancel(self) -> None:
        """End the delay before the block ends; raises NotFound for an ended delay."""
        self._loop.run(self._delay.cancel)

    def info(self) -> DelayInfo:
        """Return the agent's description of the delay; raises NotFound for an ended delay."""
        return self._loop.run(self._delay.info)
