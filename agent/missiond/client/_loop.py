# SPDX-License-Identifier: Apache-2.0
"""Event loop for programs without one: blocking calls from any thread."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from _thread import start_new_thread
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from missiond.client._errors import held_back, warn
from missiond.errors import Error

_LOOK = 0.1
"""Seconds between looks for signals that the kernel gave to another thread than the waiting one."""
_UNDO = 10.0
"""Seconds for the end of a call that a signal handler interrupted."""

Value = TypeVar("Value")
_here = threading.local()
"""Has `is_ours` in the loops' own threads."""


class Loop:
    """Event loop for blocking calls, without a thread between the calls.

    The loop runs in a thread that no signal handler interrupts, as long as a call waits for an answer. In
    between nobody reads from the connection, and a fork finds no thread. Raises RuntimeError in a thread that
    runs an event loop.
    """

    def __init__(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RuntimeError("an event loop runs in this thread; use `async with`")
        self._pid = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._calls = 0
        self._counting = threading.Lock()
        self._running = threading.Lock()
        self._closed = False
        self._readers: WeakSet[AsyncGenerator[Any, Any]] = WeakSet()

    @property
    def is_copy(self) -> bool:
        """Whether this process is a fork of the tasks' process."""
        return os.getpid() != self._pid

    @property
    def may_wait(self) -> bool:
        """Whether `run` can be called: before `close`, in no fork, and in no thread of a loop.

        There a generator may be closed that nobody has any more, wherever garbage is collected.
        """
        return not (self._closed or self.is_copy or hasattr(_here, "is_ours"))

    def run(self, work: Callable[[], Coroutine[Any, Any, Value]], *, cancels: bool = True) -> Value:
        """Call a coroutine function in the loop's thread and return the result.

        An exception of a signal handler cancels the coroutine (unless `cancels` is False), and is raised when
        the coroutine has undone what it began. Raises RuntimeError in a fork, and after `close`.
        """
        if self.is_copy or self._closed:
            raise RuntimeError(
                "the task belongs to the process that this one was forked from"
                if self.is_copy
                else "the block is over"
            )
        call = _Call(work)
        threads: list[int] = []
        try:
            _start(partial(self._serve, call), threads)
            _wait(call.ended)
        except BaseException:
            if cancels:
                self._cancel(call)
            if threads:
                call.ended.wait(_UNDO)
            raise
        for error in call.warnings:
            warn(error)
        return call.result()

    def reads(self, items: AsyncGenerator[Any, Any]) -> None:
        """Take note of a generator read from; outer ones are closed before inner ones."""
        self._readers.add(items)

    def close(self) -> None:
        """End the loop; nothing happens in a fork."""
        if self.is_copy or self._closed:
            return
        self._closed = True
        closed = _Mark()
        _start(partial(self._close, closed), [])
        _wait(closed)

    # --- in the loop's own threads

    def _serve(self, call: _Call[Any]) -> None:
        """Hand the call to the loop, and run the loop unless another thread does."""
        with self._counting:
            self._calls += 1
            is_first = self._calls == 1
            if self._loop is None:
                try:
                    self._loop = asyncio.new_event_loop()
                except OSError as error:  # no descriptor is left
                    self._calls -= 1
                    call.failure = error
                    call.ended.set()
                    return
            self._loop.call_soon_threadsafe(self._begin, call)
        if is_first:
            with self._running:  # until the thread before is at its end
                self._loop.run_forever()

    def _begin(self, call: _Call[Any]) -> None:
        assert self._loop is not None
        context = copy_context()
        context.run(held_back.set, call.warnings)
        call.task = self._loop.create_task(_do(call.work), context=context)
        call.task.add_done_callback(lambda _: self._ended(call))
        if call.cancelled:
            call.task.cancel()

    def _ended(self, call: _Call[Any]) -> None:
        assert self._loop is not None
        with self._counting:
            self._calls -= 1
            if not self._calls:
                self._loop.stop()
        call.ended.set()

    def _cancel(self, call: _Call[Any]) -> None:
        call.cancelled = True
        if self._loop is not None and call.task is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(call.task.cancel)

    def _close(self, closed: _Mark) -> None:
        try:
            with self._running:
                if self._loop is not None:
                    self._end(self._loop)
        finally:
            closed.set()

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left))
            for items in list(self._readers):
                with suppress(Exception):  # of calls without a connection: nobody reads any more
                    loop.run_until_complete(items.aclose())
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()


class _Call(Generic[Value]):
    def __init__(self, work: Callable[[], Coroutine[Any, Any, Value]]) -> None:
        self.work = work
        self.task: asyncio.Task[Value] | None = None
        self.cancelled = False
        self.failure: OSError | None = None
        """The reason for not having begun."""
        self.warnings: list[Error] = []
        self.ended = _Mark()

    def result(self) -> Value:
        if self.failure is not None:
            raise self.failure
        assert self.task is not None
        return self.task.result()


async def _do(work: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
    """Call within the task, whose error a wrong argument then is."""
    return await work()


class _Mark:
    """Event of one thread that another waits for.

    A signal handler may raise anywhere in the wait, which can leave threading.Event locked for ever.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._unset = threading.Lock()
        self._unset.acquire()

    def set(self) -> None:
        self._is_set = True
        self._unset.release()

    def wait(self, seconds: float) -> bool:
        return self._is_set or self._unset.acquire(timeout=seconds)


def _start(work: Callable[[], None], threads: list[int]) -> None:
    """Start a thread that no signal handler interrupts, and add its number to `threads`.

    Both are one call of C. Where a handler raises in Thread.start(), the new thread may fail as it begins, or
    never begin, and nobody can tell.
    """

    def run() -> None:
        _here.is_ours = True
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        work()

    threads.extend(map(start_new_thread, [run], [()]))


def _wait(event: _Mark) -> None:
    while not event.wait(_LOOK):
        pass
