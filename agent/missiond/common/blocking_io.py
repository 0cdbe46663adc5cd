# SPDX-License-Identifier: Apache-2.0
"""Threads for blocking calls: a stranger's file may be on a file system served by the stranger.

Even close(2) waits for such a file system (FUSE_FLUSH). A thread that hangs costs that thread alone: it keeps
neither the loop nor the end of the process waiting.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

MOST = 8
"""Threads under way before no more descriptors are taken."""

Value = TypeVar("Value")
_under_way: set[threading.Thread] = set()


def busy() -> bool:
    """Return whether too many calls hang for another to be begun."""
    return len(_under_way) >= MOST


def begin(work: Callable[[], object]) -> None:
    """Run a function in a thread, without waiting."""

    def run() -> None:
        try:
            work()
        finally:
            _under_way.discard(threading.current_thread())

    thread = threading.Thread(target=run, daemon=True)
    _under_way.add(thread)
    try:
        thread.start()
    except RuntimeError:
        _under_way.discard(thread)
        raise


async def aside(work: Callable[[], Value], forgotten: Callable[[Value], None]) -> Value:
    """Run a function in a thread, and wait; `forgotten` gets a result nobody waits for any more.

    Raises what `work` raises.
    """
    import asyncio  # noqa: PLC0415  (programs that have no loop start in two thirds of the time without it)

    loop = asyncio.get_running_loop()
    future: asyncio.Future[Value] = loop.create_future()

    def settle(value: Any, error: BaseException | None) -> None:  # noqa: ANN401 (of Value where no error)
        if future.done():
            if error is None:
                forgotten(value)
        elif error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def run() -> None:
        value, error = None, None
        try:
            value = work()
        except Exception as problem:  # noqa: BLE001 (handed on)
            error = problem
        with contextlib.suppress(RuntimeError):  # the loop is over, and so is the process
            loop.call_soon_threadsafe(settle, value, error)

    begin(run)
    return await future


def close_all(fds: Sequence[int]) -> None:
    """Close strangers' descriptors, without waiting for a file system."""
    slow = []
    for fd in fds:
        if _closes_at_once(fd):
            os.close(fd)
        else:
            slow.append(fd)
    if slow:
        try:
            begin(partial(_close, slow))
        except RuntimeError:  # no thread to be had: they stay open rather than that everything waits
            return


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)


def _closes_at_once(fd: int) -> bool:
    """Whether it is memory, a pipe or a socket, said by the kernel without asking a file system."""
    try:
        fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError:
        pass
    else:
        return True
    try:
        fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
    except OSError:
        pass
    else:
        return True
    return str(Path(f"/proc/self/fd/{fd}").readlink()).startswith("socket:[")
