# SPDX-License-Identifier: Apache-2.0
"""The peer unit as a service: the unit, the bus on one side, Avahi and the agent on the other."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from missiond.bus.connection import Connection
from missiond.bus.dispatcher import CallLimits
from missiond.bus.introspection import load_specs
from missiond.bus.server import Server
from missiond.config.settings import Settings
from missiond.core.sync.session_config import VERSIONS
from missiond.core.tasks.locks import printable
from missiond.degraded import Degraded
from missiond.host.avahi.avahi import Avahi
from missiond.host.avahi.records import Announcement
from missiond.host.network_changes import NetworkChanges
from missiond.host.systemd.host_name import HostName
from missiond.host.systemd.service_run import ServiceRun, run_service
from missiond.peers.agent.feed import AgentFeed
from missiond.peers.agent.notifier import PATH, AgentNotifier
from missiond.peers.pairing.session import NAME_LENGTH
from missiond.peers.service import BUS_NAME, Peers1
from missiond.peers.transport.identity import IdentityError
from missiond.peers.unit import PeerUnit, PeerUnitOptions

BAD_IDENTITY = 78
"""Exit status where only people can help (EX_CONFIG of sysexits.h); systemd does not start the unit again."""
START_PAUSE = 10.0
"""Seconds before systemd may try again after a failed start."""
_CALLS_IN_FLIGHT = 4096
"""All clients of the agent come through its one connection."""
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Setup:
    """The options of a start."""

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
        self._service = ServiceRun()
        self._degraded = Degraded()
        self._degraded.on_change(self._service.touch)
        self._unit: PeerUnit | None = None
        self._notifier: AgentNotifier | None = None
        self._network: NetworkChanges | None = None
        self._name: HostName | None = None
        self._connected: set[str] = set()
        """Ids of peers, when the status was made last."""

    async def run(self) -> int:
        """Serve until SIGTERM or the loss of the bus; return the exit status."""
        settings = self._service.read_settings()
        system = not self._setup.session
        # state comes in file descriptors, which nobody but the agent and root can send us
        exported = await Connection.open(system=system, fds=True)
        private = await Connection.open(system=system)
        server = Server(exported, load_specs(), PATH, CallLimits(calls_in_flight=_CALLS_IN_FLIGHT))
        feed = AgentFeed(private, partial(self._degraded.set, "agent"))
        notifier = self._notifier = AgentNotifier(server, exported, feed, self._service.touch)
        host_name = self._name = HostName(private, lambda name: self._renamed(name, settings, avahi))
        unit = self._unit = PeerUnit(self._options(settings, host_name.name), notifier)
        avahi = Avahi(
            private, unit.identity.device_id, unit.found, unit.lost, partial(notifier.lacks, "avahi")
        )
        server.add(PATH, Peers1(unit, notifier))

        async def close() -> None:
            for part in (self._network, host_name, avahi, feed, notifier):
                if part is not None:
                    part.close()
            await unit.close()

        async with self._service.ending(server, exported, private, close=close):
            await notifier.start()
            # the name first: of two units only one may touch the files
            await server.request_name(BUS_NAME)
            unit.start()
            await feed.start(unit)
            await avahi.start(self._announcement(unit) if settings.peers.announce else None)
            await host_name.start()
            self._follow_network(unit, host_name)
            self._service.follow_signals()
            _LOGGER.info("device %s listens on port %d", unit.identity.device_id, unit.port)
            return await self._service.serve(
                exported, private, status=lambda: self._status(unit, notifier, host_name)
            )

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

    def _status(self, unit: PeerUnit, notifier: AgentNotifier, host_name: HostName) -> str:
        """Return what `systemctl status` shows."""
        peers = [device for device in unit.devices if device.peer is not None]
        connected = {device.device_id for device in peers if device.connected}
        if connected - self._connected:
            host_name.look()  # so that who comes back is told a name that nobody told us
        self._connected = connected
        text = f"{len(peers)} paired, {len(connected)} connected"
        missing = [*self._degraded.sentences, *notifier.missing]
        return f"{text}; degraded: {'; '.join(missing)}" if missing else text


def run(setup: Setup, report: Callable[[str], None]) -> int:
    """Run the unit to the end; `report` gets the reason for a failed start."""
    try:
        return run_service("missiond-peers", PeersDaemon(setup).run(), report, pause=START_PAUSE)
    except IdentityError as error:
        report(f"missiond-peers can't start: {error}")
        return BAD_IDENTITY
