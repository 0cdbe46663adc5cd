# SPDX-License-Identifier: Apache-2.0
"""Everything around the agent, and the agent itself inside this process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from missiond import bus_names
from missiond import startup as daemon_module
from missiond.bus.connection import Connection
from missiond.config.loader import load
from missiond.config.search_path import SearchPath
from missiond.daemon.assembly import Assembly
from missiond.daemon.keepalive.keep_alive import Neighbours
from missiond.host.power import events as power_events
from missiond.host.power.battery import Battery
from missiond.host.systemd import service_run
from missiond.startup import Daemon, StatePlaces
from standins.services.fd_store import FdStoreStandIn, fd_store
from standins.services.helper import HelperStandIn, helper
from standins.services.logind import LogindStandIn, running_logind
from standins.services.polkit import PolkitStandIn, running_polkit
from standins.services.power_supplies import PowerSupplies

KEEP = "org.missiond.Agent1.keep-background-running"
OTHERS = "org.missiond.Agent1.manage-others"


class PipeMonitor:
    """Power events that a test sends."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK)

    def fileno(self) -> int:
        return self._read

    def poll(self, _timeout: float) -> object | None:
        try:
            return os.read(self._read, 1) or None
        except BlockingIOError:
            return None

    def tell(self) -> None:
        """Something changed."""
        os.write(self._write, b"x")

    def close(self) -> None:
        """Close both ends."""
        os.close(self._read)
        os.close(self._write)


class Scene:
    """A bus with logind and polkit, directories, a service manager, a power supply; perhaps an agent."""

    def __init__(self, address: str, place: Path, logind: LogindStandIn, polkit: PolkitStandIn) -> None:
        self.address = address
        self.logind = logind
        self.polkit = polkit
        polkit.allowed = {KEEP}
        self.runtime = place / "run"
        self.state = place / "state"
        self.config = place / "etc"
        self.config.mkdir()
        self.supplies = PowerSupplies(place / "power_supply")
        self.monitor = PipeMonitor()
        self.store: FdStoreStandIn
        self.helper: HelperStandIn
        self._place = place
        self._running: asyncio.Task[int] | None = None
        self.daemon: Daemon | None = None
        self.app: Assembly | None = None
        """Inside the agent that was started last in this process."""

    @property
    def environment(self) -> dict[str, str]:
        """For an agent that is a child process."""
        return {
            "DBUS_SYSTEM_BUS_ADDRESS": self.address,
            "RUNTIME_DIRECTORY": str(self.runtime),
            "STATE_DIRECTORY": str(self.state),
            "MISSIOND_HELPER_SOCKET": str(self.helper.place),
        }

    def configure(self, text: str) -> None:
        """Write the configuration."""
        (self.config / "missiond.conf").write_text(text)

    async def start(self) -> None:
        """Run the agent in this process until it serves."""
        before = sum(line == "READY=1" for line in self.store.lines)
        # The run takes it out again; a dbus-daemon would use it, too.
        os.environ["NOTIFY_SOCKET"] = self.store.address
        self.daemon = Daemon(StatePlaces(self.runtime, self.state, helper=self.helper.place))
        self._running = asyncio.ensure_future(self.daemon.run())
        ready = asyncio.ensure_future(self.store.until("READY=1", before + 1))
        await asyncio.wait({self._running, ready}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._running.done():
            self._running.result()
            raise AssertionError("the agent ended")

    async def stop(self) -> int:
        """End it as SIGTERM does; the exit status."""
        assert self.daemon is not None
        assert self._running is not None
        self.daemon.stop()
        status = await self._running
        self._running = None
        return status

    @property
    def running(self) -> bool:
        """Whether the agent runs in this process."""
        return self._running is not None

    def files(self, kind: str) -> list[str]:
        """Names of the state files of leases."""
        try:
            return sorted(entry.name for entry in (self.runtime / kind).iterdir())
        except FileNotFoundError:
            return []

    @property
    def locks(self) -> list[tuple[str, str]]:
        """What and why of every lock that stands."""
        return sorted((lock.what, lock.why) for lock in self.logind.held)

    async def until_locks(self, *wanted: tuple[str, str]) -> None:
        """Wait until so many of those that stand are released that these are left."""
        while self.locks != sorted(wanted):
            ends = [asyncio.ensure_future(lock.until_released()) for lock in self.logind.held]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)

    def application(self, *parts: Any) -> Assembly:
        """Make it for the daemon, and have it at hand; whoever runs the tests may log out."""
        neighbours: Neighbours = parts[-1]
        self.app = Assembly(*[*parts[:-1], neighbours._replace(logins=None)])
        return self.app

    def close(self) -> None:
        """Close what is its own."""
        self.monitor.close()


def _into_place(scene: Scene, patch: pytest.MonkeyPatch) -> None:
    """Let an agent in this process find bus, configuration and battery of the scene."""
    patch.setenv("DBUS_SYSTEM_BUS_ADDRESS", scene.address)
    patch.setattr(daemon_module, "Assembly", scene.application)
    patch.setattr(daemon_module, "Battery", lambda: Battery(scene.supplies.root))
    patch.setattr(service_run, "load", partial(load, SearchPath((scene.config,), frozenset({os.getuid()}))))
    patch.setattr(power_events, "open_monitor", lambda _source: scene.monitor)


@asynccontextmanager
async def scene_on(address: str, place: Path) -> AsyncIterator[Scene]:
    """Set it up, without an agent; where the test leaves one running it is ended."""
    # Clients of other users get in, too.
    Path(address.partition("path=")[2].partition(",")[0]).parent.chmod(0o711)
    async with AsyncExitStack() as stack:
        logind = await stack.enter_async_context(running_logind(address))
        polkit = await stack.enter_async_context(running_polkit(address))
        scene = Scene(address, place, logind, polkit)
        stack.callback(scene.close)
        scene.store = stack.enter_context(fd_store(place / "notify"))
        scene.helper = stack.enter_context(helper(place / "helper"))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        _into_place(scene, patch)
        try:
            yield scene
        finally:
            if scene.running:
                await scene.stop()


async def until_gone(address: str) -> None:
    """Wait until nobody owns the agent's name."""
    connection = await Connection.open(address)
    gone = asyncio.Event()
    watch = connection.watch_name(bus_names.BUS_NAME, lambda _, new: None if new else gone.set())
    if await connection.name_owner(bus_names.BUS_NAME) is not None:
        await gone.wait()
    watch.close()
    await connection.close()
