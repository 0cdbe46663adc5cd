# SPDX-License-Identifier: Apache-2.0
"""The peer unit as a service: the unit, the bus on one side, Avahi and the agent on the other."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.bus.dispatcher import CallLimits
from missiond.bus.introspection import load_specs
from missiond.bus.server import NameTaken, Server
from missiond.bus.wire.address import AddressError
from missiond.config.loader import load
from missiond.config.settings import Settings
from missiond.core.sync.session_config import VERSIONS
from missiond.core.tasks.locks import printable
from missiond.degraded import Degraded
from missiond.host.avahi.avahi import Announcement, Avahi
from missiond.host.network_changes import NetworkChanges
from missiond.host.systemd.host_name import HostName
from missiond.host.systemd.service_manager import ServiceManager
from missiond.peers.agent.feed import AgentFeed
from missiond.peers.agent.notifier import PATH, AgentNotifier
from missiond.peers.pairing.session import NAME_LENGTH
from missiond.peers.service import BUS_NAME, Peers1
from missiond.peers.transport.identity import IdentityError
from missiond.peers.unit import PeerUnit, PeerUnitOptions

BUS_LOST = 1
"""Exit status when the bus went away; systemd starts the unit again."""
BAD_IDENTITY = 78
"""Exit status where only people can help (EX_CONFIG of sysexits.h); systemd does not start the unit again."""
START_PAUSE = 10.0
"""Seconds before systemd may try again what could not start."""
_SETTLE = 0.2
_CALLS_IN_FLIGHT = 4096
"""All clients of the agent come through its one connection."""
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Setup:
    """How it was started."""

    state: Path
    session: bool = False
    port: int | None = None
    """Instead of the configured one."""
    hosts: tuple[str, ...] | None = None


class PeersDaemon:
    """One run.

    Avahi and the agent are followed on another, which owns no name: the bus policy of a name keeps signals
    away that are not meant for it.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._manager = ServiceManager()
        self._stop = asyncio.Event()
        self._degraded = Degraded()
        self._degraded.on_change(self._touch)
        self._soon: asyncio.TimerHandle | None = None
        self._status = ""
        self._unit: PeerUnit | None = None
        self._notifier: AgentNotifier | None = None
        self._network: NetworkChanges | None = None
        self._name: HostName | None = None
        self._connected: set[str] = set()
        """Ids of peers, when the status was made last."""

    async def run(self) -> int:
        """Serve until SIGTERM or the bus is lost; the exit status."""
        settings = _read_settings()
        system = not self._setup.session
        # state comes in file descriptors, which nobody but the agent and root can send us
        exported = await Connection.open(system=system, fds=True)
        private = await Connection.open(system=system)
        server = Server(exported, load_specs(), PATH, CallLimits(calls_in_flight=_CALLS_IN_FLIGHT))
        feed = AgentFeed(private, partial(self._degraded.set, "agent"))
        notifier = self._notifier = AgentNotifier(server, exported, feed, self._touch)
        host_name = self._name = HostName(private, lambda name: self._renamed(name, settings, avahi))
        unit = self._unit = PeerUnit(self._options(settings, host_name.name), notifier)
        avahi = Avahi(private, unit.identity.device_id, unit, partial(notifier.lacks, "avahi"))
        server.add(PATH, Peers1(unit, notifier))
        try:
            await notifier.start()
            # the name first: of two units only one may touch the files
            await server.request_name(BUS_NAME)
            unit.start()
            await feed.start(unit)
            await avahi.start(self._announcement(unit) if settings.peers.announce else None)
            await host_name.start()
            self._follow_network(unit, host_name)
            self._follow_signals()
            self._flush()
            self._manager.ready()
            self._manager.start_watchdog()
            _LOGGER.info("device %s listens on port %d", unit.identity.device_id, unit.port)
            return await self._wait(exported, private)
        finally:
            self._manager.stopping()
            await server.drain()
            if self._network is not None:
                self._network.close()
            host_name.close()
            avahi.close()
            feed.close()
            notifier.close()
            await unit.close()
            for connection in (exported, private):
                await connection.close()
            self._manager.close()

    def _options(self, settings: Settings, name: str) -> PeerUnitOptions:
        setup, peers = self._setup, settings.peers
        return PeerUnitOptions(
            setup.state,
            printable(name, NAME_LENGTH),
            peers.port if setup.port is None else setup.port,
            peers.listen if setup.hosts is None else setup.hosts,
        )

    def _announcement(self, unit: PeerUnit) -> Announcement:
        versions = "-".join(map(str, dict.fromkeys(VERSIONS)))
        return Announcement(unit.identity.device_id, unit.name, unit.port, versions)

    def _renamed(self, name: str, settings: Settings, avahi: Avahi) -> None:
        """Take the new name of this host everywhere."""
        unit, notifier, name = self._unit, self._notifier, printable(name, NAME_LENGTH)
        if unit is None or notifier is None or name in ("", unit.name):
            return
        _LOGGER.info("this host is called %s now", name)
        unit.rename(name)
        notifier.renamed(name)
        if settings.peers.announce:
            avahi.announce(self._announcement(unit))

    def _follow_network(self, unit: PeerUnit, host_name: HostName) -> None:
        def changed() -> None:
            unit.network_changed()
            host_name.look()  # a network may give a name, too

        try:
            self._network = NetworkChanges(changed)
        except OSError as error:
            _LOGGER.warning("peers come back later after the network does: %s", error.strerror)

    def _follow_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)

    async def _wait(self, *connections: Connection) -> int:
        """Until somebody wants an end."""
        stop = asyncio.ensure_future(self._stop.wait())
        lost = [asyncio.ensure_future(connection.wait_for_disconnect()) for connection in connections]
        done, pending = await asyncio.wait({stop, *lost}, return_when=asyncio.FIRST_COMPLETED)
        for future in pending:
            future.cancel()
        if stop in done:
            return 0
        _LOGGER.error("the bus is gone")
        return BUS_LOST

    # --- what systemctl status shows

    def _touch(self) -> None:
        """Something may have changed; changes are gathered into one message."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(_SETTLE, self._flush)

    def _flush(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        if self._unit is None:
            return
        peers = [device for device in self._unit.devices if device.peer is not None]
        connected = {device.device_id for device in peers if device.connected}
        if self._name is not None and connected - self._connected:
            self._name.look()  # so that who comes back is told a name that nobody told us
        self._connected = connected
        text = f"{len(peers)} paired, {len(connected)} connected"
        missing = [*self._degraded.sentences, *(self._notifier.missing if self._notifier is not None else ())]
        if missing:
            text += "; degraded: " + "; ".join(missing)
        if text != self._status:
            self._status = text
            self._manager.status(text)


def _read_settings() -> Settings:
    settings, problems = load()
    for problem in problems:
        _LOGGER.log(logging.ERROR if problem.error else logging.WARNING, "%s", problem)
    return settings


def run(setup: Setup, report: Callable[[str], None]) -> int:
    """Run the unit to its end; `report` gets what keeps it from starting."""
    try:
        return asyncio.run(PeersDaemon(setup).run())
    except IdentityError as error:
        report(f"missiond-peers can't start: {error}")
        return BAD_IDENTITY
    except (OSError, AddressError, NameTaken, RemoteError, CallTimeout) as error:
        report(f"missiond-peers can't start: {error}")
        if "INVOCATION_ID" in os.environ:  # started by systemd
            time.sleep(START_PAUSE)
        return 1
