# SPDX-License-Identifier: Apache-2.0
"""Runs the methods of our interfaces and answers, exactly once and always."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from missiond.bus.callers import Callers
from missiond.bus.connection import Connection
from missiond.bus.interface import Call
from missiond.bus.objects import Method
from missiond.bus.variants import shown
from missiond.bus.wire.encode import EncodeError
from missiond.bus.wire.message import Incoming, WireError
from missiond.bus.wire.signature import Value
from missiond.errors import AgentError, InvalidParameter, MemoryFailed, SystemServiceFailed, TransactionFailed

_DRAIN_SECONDS = 5.0
_REPEAT = 60.0
"""Seconds in which the same fault is not logged again."""
_REMEMBERED = 64
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CallLimits:
    """Limits on the calls of one client at a time; replaceable while serving."""

    calls_in_flight: int = 128
    """Calls of one connection in progress before the next one is refused."""
    call_bytes: int = 256 * 1024
    """Bytes of arguments of one call."""


class Dispatcher:
    """Calls in flight, at most `limits.calls_in_flight` of each connection."""

    def __init__(self, connection: Connection, callers: Callers, limits: CallLimits) -> None:
        self._connection = connection
        self._callers = callers
        self.limits = limits
        self._tasks: dict[asyncio.Task[Any], tuple[Incoming, Method]] = {}
        self._in_flight: dict[str, int] = {}
        self._faults = Faults()
        self._draining = False

    def run(self, message: Incoming, method: Method) -> None:
        """Serve one call; raises AgentError or anything else, for the caller to answer with `fail`."""
        if message.signature != method.takes:
            raise InvalidParameter(
                f"{method.member} takes ({method.takes}), got ({shown(message.signature)})"
            )
        most = max(self.limits.call_bytes, method.call_bytes)
        if message.body_length > most:
            raise InvalidParameter(
                f"{method.member} takes at most {most} bytes of arguments, got {message.body_length}"
            )
        try:
            arguments = message.body
        except WireError:
            raise InvalidParameter(f"the arguments of {method.member} can't be decoded") from None
        call = Call(message, self._callers, takes_fds=method.takes_fds)
        try:
            if method.is_async:
                self._start(message, method, call, arguments)
            else:
                self._answer(message, method, method.function(call, *arguments))
        except BaseException:
            call.close()
            raise
        if not method.is_async:
            call.close()

    def _start(self, message: Incoming, method: Method, call: Call, arguments: list[Any]) -> None:
        if self._draining:
            raise SystemServiceFailed("shutting down")
        sender = call.sender
        count = self._in_flight.get(sender, 0)
        if count >= self.limits.calls_in_flight:
            raise TransactionFailed(
                f"too many calls in flight: at most {self.limits.calls_in_flight} for one connection;"
                " wait for replies"
            )
        task = _task(method.function(call, *arguments))
        if method.takes_fds:
            task.add_done_callback(lambda _: call.close())
        if task.done():
            self._finish(task, message, method)
            return
        self._in_flight[sender] = count + 1
        self._tasks[task] = (message, method)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        entry = self._tasks.pop(task, None)
        if entry is None:
            # answered while draining
            if not task.cancelled():
                task.exception()
            return
        message, method = entry
        sender = message.sender or ""
        self._in_flight[sender] -= 1
        if not self._in_flight[sender]:
            del self._in_flight[sender]
        self._finish(task, message, method)

    def _finish(self, task: asyncio.Task[Any], message: Incoming, method: Method) -> None:
        what = f"{method.interface}.{method.member}"
        if task.cancelled():
            self.fail(message, what, SystemServiceFailed("the call was cancelled"))
            return
        error = task.exception()
        if error is not None:
            self.fail(message, what, error)
            return
        try:
            self._answer(message, method, task.result())
        except Exception as unfit:  # noqa: BLE001
            self.fail(message, what, unfit)

    def _answer(self, message: Incoming, method: Method, result: Value) -> None:
        if method.results == 0:
            if result is not None:
                raise EncodeError(f"{method.member} gives nothing, got {type(result).__name__}")
            self._connection.reply(message)
            return
        body = (result,) if method.results == 1 else result
        if not method.gives_fds:
            self._connection.reply(message, method.gives, body)
            return
        body = list(body)
        fds = []
        for position in method.gives_fds:
            fds.append(body[position])
            body[position] = len(fds) - 1
        self._connection.reply(message, method.gives, body, fds)

    def fail(self, message: Incoming, what: str, error: BaseException) -> None:
        """Answer with an error: ours unchanged, any other as an internal error with a log id alone."""
        if is_exhausted(error):
            # No end of the agent: a new one would need as much, and what is held is held for now.
            error = MemoryFailed("the agent has no memory left; end some tasks")
        elif not isinstance(error, AgentError):
            log_id = self._faults.report(what, error)
            error = SystemServiceFailed(f"internal error, log id {log_id}; see journalctl")
        self._connection.reply_error(message, error.dbus_name, str(error))

    @property
    def draining(self) -> bool:
        """Whether we are shutting down."""
        return self._draining

    def refuse(self) -> None:
        """Take no more calls."""
        self._draining = True

    async def drain(self) -> None:
        """Answer every call in flight with an error, cancel the tasks, and send everything queued."""
        self.refuse()
        tasks = list(self._tasks)
        for message, method in self._tasks.values():
            self.fail(message, method.member, SystemServiceFailed("shutting down"))
        self._tasks.clear()
        self._in_flight.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_DRAIN_SECONDS)
        await self._connection.flush()


def _task(coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Start a task, at once where Python can (3.12): what need not wait is then answered in this turn."""
    if sys.version_info >= (3, 12):
        return asyncio.Task(coroutine, loop=asyncio.get_running_loop(), eager_start=True)
    return asyncio.get_running_loop().create_task(coroutine)


class Faults:
    """Log of internal errors: each once a minute; repetitions share the id of the logged one."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[object, ...], tuple[str, float]] = OrderedDict()

    def report(self, what: str, error: BaseException) -> str:
        """Log an error in the code named by `what`, and return the log id, 8 hex digits."""
        key = (what, type(error), *_origin(error.__traceback__))
        now = time.monotonic()
        log_id, logged = self._seen.get(key, ("", 0.0))
        if log_id and now - logged < _REPEAT:
            return log_id
        log_id = os.urandom(4).hex()
        self._seen[key] = (log_id, now)
        self._seen.move_to_end(key)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        _logger.error("internal error in %s, log id %s", what, log_id, exc_info=error)
        return log_id


def is_exhausted(error: BaseException) -> bool:
    """Return whether memory ran out; Python may raise SystemError after losing the MemoryError."""
    return isinstance(error, MemoryError) or isinstance(error.__cause__ or error.__context__, MemoryError)


def _origin(traceback: TracebackType | None) -> tuple[object, ...]:
    """File and line of the innermost frame."""
    if traceback is None:
        return ()
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
