# SPDX-License-Identifier: Apache-2.0
"""One run of a daemon under systemd: start, status line, reload and end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.bus.server import NameTaken, Server
from missiond.bus.wire.address import AddressError
from missiond.config.loader import load
from missiond.config.settings import Settings
from missiond.host.systemd.service_manager import ServiceManager

_LOGGER = logging.getLogger(__name__)

CANT_START = 1
"""Exit status of a failed start."""
BUS_LOST = 1
"""Exit status when the bus went away; systemd starts the service again."""
SETTLE = 0.2
"""Seconds of changes gathered into one status line."""


class ServiceRun:
    """From the first settings to the end, as systemd sees the service."""

    def __init__(self) -> None:
        self.manager = ServiceManager()
        self._settings: Settings | None = None
        self._stop = asyncio.Event()
        self._status: Callable[[], str] | None = None
        self._apply: Callable[[Settings], None] | None = None
        self._shown = ""
        self._soon: asyncio.TimerHandle | None = None

    def read_settings(self) -> Settings:
        """Read the configuration, and log problems; right values of before stay in force."""
        self._settings, problems = load(previous=self._settings)
        for problem in problems:
            _LOGGER.log(logging.ERROR if problem.error else logging.WARNING, "%s", problem)
        return self._settings

    def follow_signals(self, apply: Callable[[Settings], None] | None = None) -> None:
        """End the service at SIGTERM and SIGINT, and reload at SIGHUP, from now on.

        :param apply: puts new settings in force; without one the service is not reloaded
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        if apply is not None:
            self._apply = apply
            loop.add_signal_handler(signal.SIGHUP, self.reload)

    @asynccontextmanager
    async def ending(
        self, server: Server, *connections: Connection, close: Callable[[], Awaitable[None]]
    ) -> AsyncIterator[None]:
        """Answer the calls under way at the end of the block, then `close`, and close the connections."""
        try:
            yield
        finally:
            self.manager.stopping()
            await server.drain()
            await close()
            for connection in connections:
                await connection.close()
            self.manager.close()

    async def serve(self, *connections: Connection, status: Callable[[], str]) -> int:
        """Tell systemd of readiness, and return the exit status at the end of the service.

        :param connections: those without which the service can't go on
        :param status: returns the line that `systemctl status` shows
        """
        self._status = status
        self.flush()
        self.manager.ready()
        self.manager.start_watchdog()
        stop = asyncio.ensure_future(self._stop.wait())
        lost = [asyncio.ensure_future(connection.wait_for_disconnect()) for connection in connections]
        done, pending = await asyncio.wait({stop, *lost}, return_when=asyncio.FIRST_COMPLETED)
        for future in pending:
            future.cancel()
        if stop in done:
            return 0
        _LOGGER.error("the bus is gone; what is held stays held, and the next run goes on with it")
        return BUS_LOST

    def stop(self) -> None:
        """End the service in order."""
        self._stop.set()

    def reload(self) -> None:
        """Read the configuration again, and put new values in force."""
        if self._apply is None:
            return
        if self._status is None:  # the service is not ready yet, and must not say so
            self._apply(self.read_settings())
            return
        self.manager.reloading()
        self._apply(self.read_settings())
        self.touch()
        self.manager.ready()

    def touch(self) -> None:
        """Show the status soon, after a possible change."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(SETTLE, self.flush)

    def flush(self) -> None:
        """Show the status now, after a change; nothing before `serve`."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        text = "" if self._status is None else self._status()
        if text != self._shown:
            self._shown = text
            self.manager.status(text)


def run_service(
    name: str, service: Coroutine[Any, Any, int], report: Callable[[str], None], *, pause: float = 0.0
) -> int:
    """Run a service, and return the exit status; `report` gets the reason of a failed start.

    Under systemd it takes `pause` seconds longer then, so that what can't start is not tried all the time.
    """
    try:
        return asyncio.run(service)
    except (OSError, AddressError, NameTaken, RemoteError, CallTimeout) as error:
        report(f"{name} can't start: {_why(error)}")
        if pause and "INVOCATION_ID" in os.environ:
            time.sleep(pause)
        return CANT_START


def _why(error: Exception) -> str:
    """Return a sentence, with the name of the file where there is one."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}; is there such a bus, or may the file be opened?"
    return str(error)
