# SPDX-License-Identifier: Apache-2.0
"""Tasks of this program, with events, for a block or until the owner ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, TypeVar

from missiond.bus_names import BACKGROUND_TASK_MANAGER, CONTINUOUS_TASK, MANAGER_PATH, TRANSIENT_TASK
from missiond.client._bus import AgentBus
from missiond.client._errors import Unreachable
from missiond.client._events import CONTINUOUS, TRANSIENT, TaskEvents
from missiond.client._task_infos import DelayInfo, TaskInfo
from missiond.client._types import Event, Modes, mode_names
from missiond.errors import Error, Failed, Invalid, NotFound

GRACE = 5.0
"""Seconds after a delay's time until the agent is asked about the end."""

_LOGGER = logging.getLogger(__name__)


class Task:
    """A continuous task of this program; `async with agent.keep_awake(...) as task` makes one.

    Where the program asked for it with `required=False` there may be none, and it runs on without.
    """

    def __init__(
        self, bus: AgentBus, events: TaskEvents, number: int, *, context: str = "", pid: int | None = None
    ) -> None:
        self._bus = bus
        self._events = events
        self.id = number
        self.context = context
        self._granted = number != 0
        self._pid = pid
        self._progress = 0
        self._reporting = False
        self._feed = events.adopt((CONTINUOUS, number))

    @property
    def held(self) -> bool:
        """Whether the task is live: False without one, after the end, and in a fork of the process."""
        return self._granted and self._feed.ended is None and not self._bus.is_copy

    @property
    def name(self) -> str:
        """Name for missionctl, for example `continuous/7`; empty without a task."""
        return f"{CONTINUOUS}/{self.id}" if self._granted else ""

    def __repr__(self) -> str:
        return f"<missiond.Task {self.name or 'none'}{'' if self.held else ', not held'}>"

    @property
    def progress(self) -> int:
        """Finished part of a data transfer in per cent, 0 to 100, for lists and notifications."""
        return self._progress

    @progress.setter
    def progress(self, percent: float) -> None:
        now, before = checked_percent(percent), self._progress
        self._progress = now
        if now != before and self.held and not self._reporting:
            self._reporting = True
            self._bus.begin(self._report_latest())

    async def report(
        self, percent: float | None = None, *, title: str | None = None, file_name: str | None = None
    ) -> None:
        """Tell how far a data transfer is; raises Invalid, Refused (the mode is another one)."""
        value = None if percent is None else checked_percent(percent)
        self._progress = self._progress if value is None else value
        if self._granted:
            shown = {"value": value, "title": title, "file_name": file_name}
            options = self._bus.options(BACKGROUND_TASK_MANAGER, "UpdateDataTransferProgress", shown)
            await self._bus.call(BACKGROUND_TASK_MANAGER, "UpdateDataTransferProgress", self.id, options)

    async def update(self, mode: Modes) -> None:
        """Change the task's modes without a gap in the lock; raises Refused for an ended task."""
        if self._granted:
            await self._manage("UpdateBackgroundRunning", mode_names(mode))

    async def stop(self) -> None:
        """End the task; raises Refused for an ended task."""
        if self._granted:
            await self._manage("StopBackgroundRunning")
            self._events.forget((CONTINUOUS, self.id), "stopped")

    async def cancel(self) -> None:
        """End the task as the user; all waiting readers are told. Raises Refused for an ended task."""
        if self._granted:
            await self._bus.call(BACKGROUND_TASK_MANAGER, "CancelContinuousTask", self.id)
            self._events.forget((CONTINUOUS, self.id), "cancelled")

    async def info(self) -> TaskInfo:
        """Return the agent's description of the task; raises NotFound for an ended task."""
        path = f"{MANAGER_PATH}/{CONTINUOUS}/{self.id}"
        return TaskInfo.of(self._bus, await self._bus.properties(CONTINUOUS_TASK, path))

    async def events(self) -> AsyncIterator[Event]:
        """Iterate over the events from the start to the end of the task; for one reader."""
        while self._granted and (event := await self._feed.next()) is not None:
            yield event

    async def wait(self) -> str:
        """Wait for the end and return the cause (see Ended)."""
        return (await self._feed.wait()).cause if self._granted else "lost"

    async def _manage(self, member: str, *arguments: object) -> None:
        options = self._bus.options(
            BACKGROUND_TASK_MANAGER, member, {"context": self.context, "pid": self._pid}
        )
        await self._bus.call(BACKGROUND_TASK_MANAGER, member, *arguments, options)

    async def _report_latest(self) -> None:
        told = None
        try:
            while told != self._progress:
                told = self._progress
                await self.report(told)
        except (Failed, Unreachable) as error:  # nothing that work has to stop for
            _LOGGER.debug("progress was not told: %s", error)
        finally:
            self._reporting = False


class Delay:
    """A transient task of this program; `async with agent.delay_sleep(...) as delay` makes one.

    `granted`: seconds that it lasts at most.
    """

    def __init__(self, bus: AgentBus, events: TaskEvents, number: int, granted: int) -> None:
        self._bus = bus
        self._events = events
        self.id = number
        self.granted = granted / 1000
        self._granted = number != 0
        self._set_remaining(self.granted)
        self._feed = events.adopt((TRANSIENT, number))
        self._feed.remaining = self._set_remaining

    @property
    def held(self) -> bool:
        """Whether the delay is live: False without one, after the end, and in a fork of the process."""
        return self._granted and self.remaining > 0 and not self._bus.is_copy

    @property
    def name(self) -> str:
        """Name for missionctl, for example `transient/12`; empty without a delay."""
        return f"{TRANSIENT}/{self.id}" if self._granted else ""

    def __repr__(self) -> str:
        return f"<missiond.Delay {self.name or 'none'}, {self.remaining:.0f} s left>"

    @property
    def remaining(self) -> float:
        """Remaining seconds, by the agent's last word; 0 after the end."""
        if self._feed.ended is not None:
            return 0.0
        return max(0.0, self._ends - time.clock_gettime(time.CLOCK_BOOTTIME))

    async def refresh(self) -> float:
        """Ask the agent for the remaining seconds (a low battery shortens a delay); raises NotFound."""
        if self._granted:
            [left] = await self._bus.call(BACKGROUND_TASK_MANAGER, "GetRemainingDelayTime", self.id)
            self._set_remaining(left / 1000)
            return int(left) / 1000
        return 0.0

    async def left(self) -> float:
        """Ask as `refresh` does; return 0 after the end, and a guess without an agent."""
        try:
            return await self.refresh()
        except NotFound:
            return 0.0
        except Unreachable:
            return self.remaining

    async def cancel(self) -> None:
        """End the delay, without a charge for unused time; raises NotFound for an ended delay."""
        if self._granted:
            await self._bus.call(BACKGROUND_TASK_MANAGER, "CancelSuspendDelay", self.id)
            self._events.forget((TRANSIENT, self.id), "cancelled")

    stop = cancel

    async def info(self) -> DelayInfo:
        """Return the agent's description of the delay; raises NotFound for an ended delay."""
        path = f"{MANAGER_PATH}/{TRANSIENT}/{self.id}"
        return DelayInfo.of(self._bus, await self._bus.properties(TRANSIENT_TASK, path))

    async def events(self) -> AsyncIterator[Event]:
        """Iterate over the events from the grant to the end of the delay; for one reader."""
        while self._granted and (event := await self._in_time(self._feed.next)) is not None:
            yield event

    async def wait(self) -> str:
        """Wait for the end and return the cause (see Ended)."""
        return (await self._in_time(self._feed.wait)).cause if self._granted else "lost"

    async def _in_time(self, wanted: Callable[[], Awaitable[_Awaited]]) -> _Awaited:
        """Wait, but ask where nothing was told in time: the agent may have been away when it ended."""
        while True:
            try:
                async with asyncio.timeout(self.remaining + GRACE):
                    return await wanted()
            except TimeoutError:
                try:
                    await self.refresh()
                except NotFound:
                    self._events.forget((TRANSIENT, self.id), "expired")

    def _set_remaining(self, seconds: float) -> None:
        self._ends = time.clock_gettime(time.CLOCK_BOOTTIME) + seconds


_Awaited = TypeVar("_Awaited")


Held = TypeVar("Held", bound=Task | Delay)


class Starting(Generic[Held]):
    """Start of a task: `async with` holds the task for a block, `await` until the owner ends.

    Where whoever awaits is cancelled, what the agent grants all the same is ended.
    """

    def __init__(self, bus: AgentBus, start: Callable[[], Coroutine[Any, Any, Held]]) -> None:
        self._bus = bus
        self._start = start
        self._held: Held | None = None

    def __await__(self) -> Generator[Any, None, Held]:
        return self.start().__await__()

    async def __aenter__(self) -> Held:
        self._held = await self.start()
        return self._held

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held is not None:
            await end(self._held)

    async def start(self) -> Held:
        """Start the task until the owner ends; the same as `await`."""
        asked = asyncio.ensure_future(self._start())
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            self._bus.begin(self._undo(asked))
            raise

    async def _undo(self, asked: asyncio.Future[Held]) -> None:
        with suppress(Error):
            await end(await asked)


async def end(held: Task | Delay) -> None:
    """End a task; an ended task is no error."""
    with suppress(Error):
        await held.stop()


def checked_percent(percent: float) -> int:
    """Return whole per cents; raises Invalid outside of 0 to 100."""
    if not 0 <= percent <= 100:
        raise Invalid(f"progress is per cent, 0 to 100, not {percent!r:.40}")
    return int(percent)
