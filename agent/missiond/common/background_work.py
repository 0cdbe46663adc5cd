# SPDX-License-Identifier: Apache-2.0
"""Tasks in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Hashable
from logging import Logger
from typing import Any

from missiond.common.log_limiter import LogLimiter


class BackgroundWork:
    """Set of tasks: kept until done, logged when failed, cancelled on `close`.

    work = BackgroundWork(_LOGGER, "keep-alive restart")
    work.start(self._restart(service), key=service)  # the key is optional
    work.close()  # and `await work.closed()` where the last of their steps count
    """

    def __init__(self, logger: Logger | LogLimiter, what: str) -> None:
        """Name the work in "... failed"; a LogLimiter is for failures caused by clients."""
        self._logger = logger
        self._what = what
        self._tasks: dict[asyncio.Task[Any], Hashable] = {}

    def __len__(self) -> int:
        """Count the unfinished tasks."""
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, Any], key: Hashable = None) -> asyncio.Task[Any]:
        """Start a task; several may have the same key."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = key
        task.add_done_callback(self._done)
        return task

    def of(self, key: Hashable) -> list[asyncio.Task[Any]]:
        """List the tasks of a key."""
        return [task for task, other in self._tasks.items() if other == key]

    def cancel(self, key: Hashable) -> None:
        """Cancel the tasks of a key, except for the calling one."""
        current = asyncio.current_task()
        for task in self.of(key):
            if task is not current:
                task.cancel()

    def close(self) -> None:
        """Cancel all tasks."""
        for task in list(self._tasks):
            task.cancel()

    async def closed(self) -> None:
        """Return when no task is left."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    def _done(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._logger.error("%s failed", self._what, exc_info=error)
