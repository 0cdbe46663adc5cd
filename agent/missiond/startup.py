# SPDX-License-Identifier: Apache-2.0
"""The service: brings everything up in the right order, and down again."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from missiond import bus_names
from missiond.bus.connection import Connection
from missiond.bus.dispatcher import CallLimits
from missiond.bus.introspection import load_specs
from missiond.bus.server import NameTaken, Server
from missiond.config.settings import Settings
from missiond.daemon.assembly import Assembly
from missiond.daemon.authority import Authority
from missiond.daemon.handover.client import HandoverClient
from missiond.daemon.handover.state_requests import StateRequests
from missiond.daemon.keepalive.keep_alive import Neighbours
from missiond.daemon.keepalive.session_end import LoginHost
from missiond.daemon.peering.peers_client import PeersClient
from missiond.daemon.status import status_line
from missiond.daemon.tasks.inhibitors import no_logind
from missiond.helper.own_rights import OwnRights
from missiond.host.helper import SOCKET, Helper
from missiond.host.package_kit import PackageKit
from missiond.host.polkit import Polkit
from missiond.host.power.battery import Battery
from missiond.host.processes.hidden import HiddenProcesses
from missiond.host.systemd.logind import Logind
from missiond.host.systemd.logind_sessions import Logins
from missiond.host.systemd.oomd import Oomd
from missiond.host.systemd.service_run import ServiceRun, run_service
from missiond.host.systemd.survivor_units import KeepUnits
from missiond.host.systemd.unit_managers import UnitManagers
from missiond.service.background_tasks import BackgroundTaskManager
from missiond.service.continuations import Continuations
from missiond.service.handover_assembly import HandoverAssembly
from missiond.service.manager import Counts, Manager
from missiond.service.mission_signals import MissionAnnouncer
from missiond.service.missions import DistributedMissionManager
from missiond.service.peers import PeersInterface
from missiond.service.remote_missions import RemoteMissions
from missiond.service.sharing import SharingService
from missiond.service.task_signals import TaskAnnouncer
from missiond.store.machine import start_without_copies

_LOGGER = logging.getLogger(__name__)

NO_EVENTS = "no udev events: the battery is looked at only when asked, and while it drains and a lock is held"

_OF_THIS_MACHINE = ("handovers", "permitted-devices.json")
"""What a clone of this machine must not take up: missions on their way, and who may start programs."""


@dataclass(frozen=True, slots=True)
class StatePlaces:
    """Directories of the agent, socket of the helper, and kind of bus."""

    runtime: Path
    state: Path
    session: bool = False
    helper: Path = SOCKET


class Daemon:
    """One run of the agent.

    The connection that is served takes no file descriptors, so that no client can hand us any, but while a
    program is asked for the state of its mission. Private ones talk to logind, and to polkit, where calls of
    clients may wait for long.
    """

    def __init__(self, places: StatePlaces) -> None:
        self._places = places
        self._service = ServiceRun()
        self._announcer: MissionAnnouncer
        self._processes: HiddenProcesses
        self._unit: PeersClient
        self._remote: RemoteMissions
        self._handing: HandoverAssembly
        self._requests: StateRequests | None = None

    def stop(self) -> None:
        """End the run, as SIGTERM does."""
        self._service.stop()

    async def run(self) -> int:
        """Serve until SIGTERM or the bus is lost, and return the exit status."""
        settings = self._service.read_settings()
        stored = self._service.manager.take_stored()
        exported = await Connection.open(
            system=not self._places.session,
            fds=lambda: self._requests is not None and self._requests.wants_files,
        )
        if await _has_owner(exported, bus_names.BUS_NAME):
            # Before any file is touched: they are the other instance's.
            raise NameTaken(f"{bus_names.BUS_NAME} is taken: another instance is running")
        private = await Connection.open(fds=True)
        asking = await Connection.open()
        bus_id = (await exported.call_bus("GetId"))[0]
        server = Server(exported, load_specs(), bus_names.MANAGER_PATH, _limits(settings))
        logind = Logind(private)
        battery = Battery()
        app = Assembly(
            settings,
            self._places.runtime,
            self._places.state,
            logind,
            self._service.manager,
            battery,
            server.callers,
            bus_id,
            self._neighbours(private),
        )
        server.count_by(app.persons.of)
        polkit = None if self._places.session else Polkit(asking)
        handover_client, installer = self._handover_client(exported, private), PackageKit(private)
        self._serve(app, exported, server, polkit, handover_client, installer)
        restore = app.load()
        await restore.load(stored, bus_id, lambda name: _has_owner(exported, name))
        await logind.start()
        if polkit is not None:
            await polkit.start()
        self._follow(app, logind, polkit, battery, server)
        await Oomd(private, app.keep_alive.oomd_changed).start()
        app.mission_watch.start()
        await self._announcer.load(lambda name: _has_owner(exported, name))
        await server.request_name(bus_names.BUS_NAME)
        await self._start_peers(exported)
        await app.begin(restore)
        self._announcer.finish()
        _LOGGER.info("serving %s", bus_names.BUS_NAME)

        async def close() -> None:
            for part in (self._unit, self._handing, self._processes, app, battery):
                part.close()
            await app.closed()

        async with self._service.ending(server, exported, private, asking, close=close):
            return await self._service.serve(
                exported,
                private,
                asking,
                status=lambda: status_line(app.leases, app.power.power, app.degraded, self._unit.text),
            )

    def _handover_client(self, exported: Connection, private: Connection) -> HandoverClient:
        """On the bus that is served; on a session's, where no peers are, without file descriptors."""
        return HandoverClient(exported if self._places.session else private)

    async def _start_peers(self, exported: Connection) -> None:
        """Go on with hand-overs and listeners of an earlier run, and follow the peer unit."""
        await self._remote.load(lambda name: _has_owner(exported, name))
        await self._handing.start()
        await self._unit.start()
        await self._handing.client.start(self._handing.handovers)
        self._remote.finish()

    def _neighbours(self, private: Connection) -> Neighbours:
        helper = Helper(self._places.helper)
        if self._places.session:
            return Neighbours(helper, ending=OwnRights())
        logins = LoginHost(Logins(private), KeepUnits(Connection.open))
        return Neighbours(helper, logins, managers=UnitManagers())

    def _serve(
        self,
        app: Assembly,
        connection: Connection,
        server: Server,
        polkit: Polkit | None,
        handover_client: HandoverClient,
        installer: PackageKit,
    ) -> None:
        counts = Counts(app.leases, partial(server.changed, bus_names.MANAGER_PATH, bus_names.MANAGER))

        def touched() -> None:
            counts.touch()
            self._service.touch()
            app.power.schedule()

        TaskAnnouncer(server, app.leases, touched)
        authority = Authority(polkit, app.persons.of)
        watch = app.mission_watch
        self._processes = processes = HiddenProcesses()
        self._announcer = announcer = MissionAnnouncer(
            server, watch.missions, watch.snapshots, watch.listeners, lambda: processes.hidden
        )
        processes.on_change(announcer.visibility_changed)
        if not self._places.session:  # a user's state may lie on a disk that several machines share
            start_without_copies(self._places.state, _OF_THIS_MACHINE)
        self._requests = StateRequests(
            announcer.continue_requested,
            server.callers,
            self._places.state / "handovers",
            lambda: app.settings.continue_.state_max,
        )
        self._unit = unit = PeersClient(connection, app.degraded, app.persons.of)
        self._handing = handing = HandoverAssembly(
            app,
            server,
            announcer,
            self._requests,
            handover_client,
            unit,
            authority,
            self._places.state / "handovers",
            installer,
        )
        watch.missions.subscribe(announcer, watch.sharing, *handing.observers)
        self._add_interfaces(app, server, authority)

        def degraded() -> None:
            server.changed(bus_names.MANAGER_PATH, bus_names.MANAGER, "Degraded")
            self._service.touch()

        app.degraded.on_change(degraded)

    def _add_interfaces(
        self,
        app: Assembly,
        server: Server,
        authority: Authority,
    ) -> None:
        """Put all that is called on the manager object."""
        watch, handing, unit = app.mission_watch, self._handing, self._unit
        peers = PeersInterface(server, unit, authority, handing.permitted, self._service.touch)
        self._remote = RemoteMissions(server, unit, authority, watch.peer_listeners)
        continuations = Continuations(
            handing.handovers,
            watch.missions,
            handing.continuations,
            unit,
            authority,
            handing.requests,
            handing.whose,
        )
        server.add(
            bus_names.MANAGER_PATH,
            BackgroundTaskManager(app.requests, app.running, app.owners, app.leases, authority),
            DistributedMissionManager(
                watch.missions,
                watch.snapshots,
                watch.termination,
                app.owners,
                authority,
                self._announcer,
                self._remote,
                continuations,
            ),
            peers,
            SharingService(server, watch.sharing, watch.snapshots, handing.handovers),
            Manager(app.power, app.leases, app.degraded, self._service.reload),
        )

    def _follow(
        self,
        app: Assembly,
        logind: Logind,
        polkit: Polkit | None,
        battery: Battery,
        server: Server,
    ) -> None:
        """React to what happens on the host."""

        def power_changed() -> None:
            battery = ("BatteryPresent", "BatteryPercent", "LowBattery", "CriticalBattery")
            server.changed(bus_names.MANAGER_PATH, bus_names.MANAGER, *battery, "OnExternalPower")
            self._service.touch()

        def sleep(starting: bool) -> None:
            if not starting:
                app.power.woke()
                app.ring()
                app.keeper.settle()
                app.mission_watch.rescan()

        app.power.on_reading(power_changed)
        battery.watch(app.power.changed)
        if not battery.watching:
            app.degraded.set("udev", NO_EVENTS)
        logind.on_sleep(sleep)
        logind.on_available(lambda there: self._logind_changed(app, logind, there))
        self._logind_changed(app, logind, logind.available)
        if polkit is not None:
            polkit.on_available(lambda there: _polkit_changed(app, there))
            _polkit_changed(app, polkit.available)
        self._service.follow_signals(lambda settings: self._configure(app, server, settings))

    def _logind_changed(self, app: Assembly, logind: Logind, there: bool) -> None:
        if there:
            app.degraded.set("logind", None)
            app.background(app.keeper.verify(os.getpid()))
            app.keep_alive.review()
        else:
            app.degraded.set("logind", no_logind(logind.start_failure))

    def _configure(self, app: Assembly, server: Server, settings: Settings) -> None:
        """Put new settings in force."""
        server.limits = _limits(settings)
        app.configure(settings)
        self._handing.configure(settings)


def _limits(settings: Settings) -> CallLimits:
    return CallLimits(calls_in_flight=settings.limits.calls_in_flight)


def _polkit_changed(app: Assembly, there: bool) -> None:
    sentence = "no polkit: only uid 0 may start continuous tasks or act for others"
    app.degraded.set("polkit", None if there else sentence)
    if there:
        app.keeper.settle()  # logind asks polkit about us, and refuses without an answer


async def _has_owner(connection: Connection, name: str) -> bool:
    return bool((await connection.call_bus("NameHasOwner", "s", (name,)))[0])


def run(places: StatePlaces, report: Callable[[str], None]) -> int:
    """Run the daemon to the end; `report` gets the reason of a failed start."""
    return run_service("missiond", Daemon(places).run(), report)
