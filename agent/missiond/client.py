# SPDX-License-Identifier: Apache-2.0
"""The agent for Python programs.

Asynchronous, with methods named after those of the bus:

    async with Client() as agent:
        granted = await agent.request_suspend_delay("saving")

missiond.blocking has the same for programs without an event loop.

All times are milliseconds. Every method raises the AgentError that stands for the agent's answer, and
AgentUnreachable where there is none.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, TypeVar, Unpack

from missiond.answers import SuspendDelay, Task, TaskOptions, TransientTaskInfo
from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.bus.values import unwrap, variant
from missiond.core.modes import BackgroundMode
from missiond.remote_errors import AgentUnreachable, exception_for
from missiond.service.names import BACKGROUND_TASK_MANAGER, BUS_NAME, MANAGER, MANAGER_PATH

__all__ = [
    "AgentUnreachable",
    "BackgroundMode",
    "Client",
    "Signals",
    "SuspendDelay",
    "Task",
    "TaskOptions",
    "TransientTaskInfo",
]

TIMEOUT = 25.0
"""Seconds for an answer; more where polkit may ask the user for a password first."""
INTERACTIVE_TIMEOUT = 300.0

_SIGNATURES = {
    "pid": "u",
    "delay": "u",
    "context": "s",
    "keep-alive": "s",
    "want-agent": "a{sv}",
    "title": "s",
    "text": "s",
    "file-name": "s",
    "value": "u",
}

Value = TypeVar("Value")


class Signals:
    """An iterator over the arguments of signals; raises AgentUnreachable when nothing more can come.

    A text in the queue says why that is.
    """

    def __init__(self, queue: asyncio.Queue[tuple[Any, ...] | str]) -> None:
        self._queue = queue

    def __aiter__(self) -> Signals:
        return self

    async def __anext__(self) -> tuple[Any, ...]:
        arguments = await self._queue.get()
        if isinstance(arguments, str):
            raise AgentUnreachable(arguments)
        return arguments


class Client:
    """A connection to the agent; without `pid`, tasks end when it closes.

    `session`: the session bus. `interactive`: polkit may ask the user.
    """

    def __init__(self, *, session: bool = False, interactive: bool = False) -> None:
        self._session = session
        self._interactive = interactive
        self._connection: Connection | None = None

    async def __aenter__(self) -> Client:
        try:
            # descriptors pass out, but none in
            self._connection = await Connection.open(system=not self._session, fds=lambda: False)
        except OSError as error:
            raise AgentUnreachable(f"there is no {self.bus} ({error.strerror or error})") from error
        except (ValueError, RemoteError) as error:
            raise AgentUnreachable(f"there is no {self.bus} ({error})") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            await self._connection.close()

    @property
    def bus(self) -> str:
        """For people."""
        return "session bus" if self._session else "system bus"

    async def request_suspend_delay(
        self, reason: str, *, pid: int | None = None, delay: int | None = None
    ) -> SuspendDelay:
        """Keep the host awake for up to `delay` ms (the most, where left out)."""
        body = [reason, _options(pid=pid, delay=delay)]
        return SuspendDelay(*await self._manage("RequestSuspendDelay", "sa{sv}", body))

    async def get_remaining_delay_time(self, request_id: int) -> int:
        """Ms until the request expires."""
        (remaining,) = await self._manage("GetRemainingDelayTime", "u", [request_id])
        return int(remaining)

    async def cancel_suspend_delay(self, request_id: int) -> None:
        """End a request."""
        await self._manage("CancelSuspendDelay", "u", [request_id])

    async def get_transient_task_info(self) -> TransientTaskInfo:
        """Quota and live requests of this application."""
        quota, tasks = await self._manage("GetTransientTaskInfo")
        return TransientTaskInfo(quota, [(task_id, remaining) for task_id, remaining in tasks])

    async def start_background_running(
        self, modes: Iterable[BackgroundMode | str], **options: Unpack[TaskOptions]
    ) -> Task:
        """Keep the host awake until the task is stopped or its owner exits."""
        body = [_items(modes), _options(**options)]
        return Task(*await self._manage("StartBackgroundRunning", "asa{sv}", body))

    async def update_background_running(
        self, modes: Iterable[BackgroundMode | str], *, context: str | None = None, pid: int | None = None
    ) -> Task:
        """Give a task other modes."""
        body = [_items(modes), _options(context=context, pid=pid)]
        return Task(*await self._manage("UpdateBackgroundRunning", "asa{sv}", body))

    async def stop_background_running(self, *, context: str | None = None, pid: int | None = None) -> None:
        """End a task."""
        await self._manage("StopBackgroundRunning", "a{sv}", [_options(context=context, pid=pid)])

    async def cancel_continuous_task(self, continuous_task_id: int) -> None:
        """End a task as its user."""
        await self._manage("CancelContinuousTask", "u", [continuous_task_id])

    async def get_all_continuous_tasks(self, *, include_suspended: bool = False) -> list[dict[str, Any]]:
        """Tasks of this user (of every user for uid 0)."""
        (tasks,) = await self._manage("GetAllContinuousTasks", "b", [include_suspended])
        return list(tasks)

    async def update_data_transfer_progress(
        self,
        continuous_task_id: int,
        *,
        title: str | None = None,
        file_name: str | None = None,
        value: int | None = None,
    ) -> None:
        """How far a transfer is; `value` is per cent."""
        progress = _options(title=title, file_name=file_name, value=value)
        await self._manage("UpdateDataTransferProgress", "ua{sv}", [continuous_task_id, progress])

    async def reload(self) -> None:
        """Have the agent read its configuration again; uid 0 only."""
        await self._call(MANAGER_PATH, MANAGER, "Reload")

    async def properties(self, interface: str = MANAGER, path: str = MANAGER_PATH) -> dict[str, Any]:
        """All properties of one interface."""
        (values,) = await self._call(path, "org.freedesktop.DBus.Properties", "GetAll", "s", [interface])
        return dict(values)

    async def objects(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Every live task: path, interface, properties."""
        manager = "org.freedesktop.DBus.ObjectManager"
        (tree,) = await self._call(MANAGER_PATH, manager, "GetManagedObjects")
        return dict(tree)

    @asynccontextmanager
    async def signals(
        self,
        member: str,
        interface: str = BACKGROUND_TASK_MANAGER,
        *,
        path: str | None = None,
        also: Iterable[tuple[str, str, str | None]] = (),
        until_gone: bool = False,
    ) -> AsyncIterator[Signals]:
        """Arguments of each signal of this name from the moment of entering, without an end.

        `async with agent.signals("SuspendDelayEnded") as ended: async for request_id, cause in ended: ...`
        `path` is whose they are, anybody's by default; `also` are further ones: member, interface, path.
        `until_gone`: for what an agent that is started again would not know of; else it is waited for.
        """
        queue: asyncio.Queue[tuple[Any, ...] | str] = asyncio.Queue()
        subscriptions = []
        for name, of, where in ((member, interface, path), *also):
            adding = self._open.add_signal(
                sender=BUS_NAME,
                interface=of,
                member=name,
                path=where,
                callback=lambda *arguments: queue.put_nowait(arguments),
            )
            subscriptions.append(await self._reach(adding))
        if until_gone:
            leaving = f"the agent has left the {self.bus}"
            watch = self._open.watch_name(BUS_NAME, lambda old, _: queue.put_nowait(leaving) if old else None)
            subscriptions.append(watch)
        lost = asyncio.ensure_future(self._open.wait_for_disconnect())
        lost.add_done_callback(lambda _: queue.put_nowait(f"the {self.bus} is gone"))
        try:
            yield Signals(queue)
        finally:
            lost.cancel()
            for subscription in subscriptions:
                subscription.close()

    @property
    def _open(self) -> Connection:
        if self._connection is None:
            raise RuntimeError("enter the Client first: async with Client() as agent")
        return self._connection

    async def manage(
        self,
        interface: str,
        member: str,
        signature: str = "",
        body: Iterable[object] = (),
        *,
        fds: Sequence[int] = (),
    ) -> list[Any]:
        """Call a method of one of the manager's interfaces; its results.

        Descriptors in `fds` stay the caller's; an `h` in `body` is an index into them.
        """
        return await self._call(MANAGER_PATH, interface, member, signature, body, fds)

    async def _manage(self, member: str, signature: str = "", body: Iterable[object] = ()) -> list[Any]:
        return await self._call(MANAGER_PATH, BACKGROUND_TASK_MANAGER, member, signature, body)

    async def _call(
        self,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Iterable[object] = (),
        fds: Sequence[int] = (),
    ) -> list[Any]:
        answer = self._open.call_fds(
            BUS_NAME,
            path,
            interface,
            member,
            signature,
            list(body),
            fds=fds,
            timeout=INTERACTIVE_TIMEOUT if self._interactive else TIMEOUT,
            interactive=self._interactive,
        )
        values, taken = await self._reach(answer)
        for fd in taken:
            os.close(fd)
        return [unwrap(value) for value in values]

    async def _reach(self, answer: Awaitable[Value]) -> Value:
        try:
            return await answer
        except CallTimeout as error:
            raise AgentUnreachable(f"the agent gives no answer on the {self.bus}") from error
        except RemoteError as error:
            raise exception_for(error.name, error.text, self.bus) from error
        except OSError as error:
            raise AgentUnreachable(f"the {self.bus} is gone ({error})") from error


def _items(modes: Iterable[BackgroundMode | str]) -> list[str]:
    return [mode.item if isinstance(mode, BackgroundMode) else mode for mode in modes]


def _options(**options: object) -> dict[str, Any]:
    named = {key.replace("_", "-"): value for key, value in options.items() if value is not None}
    return {key: variant(_SIGNATURES[key], value) for key, value in named.items()}
