# SPDX-License-Identifier: Apache-2.0
"""The service: brings everything up in the right order, and down again."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from missiond import bus_names
from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.bus.dispatcher import CallLimits
from missiond.bus.introspection import load_specs
from missiond.bus.server import NameTaken, Server
from missiond.bus.wire.address import AddressError
from missiond.config.loader import load
from missiond.config.settings import Settings
from missiond.daemon.assembly import Assembly
from missiond.daemon.authority import Authority
from missiond.daemon.handover.peer_client import PeerClient
from missiond.daemon.handover.state_requests import StateRequests
from missiond.daemon.keepalive.keep_alive import Neighbours
from missiond.daemon.keepalive.session_end import LoginHost
from missiond.daemon.peering.peers_client import PeersClient
from missiond.daemon.status import Status
from missiond.daemon.tasks.inhibitors import NO_LOGIND
from missiond.daemon.tasks.recovery import Recovery
from missiond.helper.own_rights import OwnRights
from missiond.host.helper import SOCKET, Helper
from missiond.host.package_kit import PackageKit
from missiond.host.polkit import Polkit
from missiond.host.power.battery import Battery
from missiond.host.processes.hidden import HiddenProcesses
from missiond.host.systemd.logind import Logind
from missiond.host.systemd.logind_sessions import Logins
from missiond.host.systemd.oomd import Oomd
from missiond.host.systemd.service_manager import ServiceManager
from missiond.host.systemd.survivor_units import KeepUnits
from missiond.host.systemd.unit_managers import UnitManagers
from missiond.service.background_tasks import BackgroundTaskManager
from missiond.service.counts import Counts
from missiond.service.handover_assembly import HandoverAssembly
from missiond.service.manager import Manager
from missiond.service.mission_signals import MissionAnnouncer
from missiond.service.missions import DistributedMissionManager
from missiond.service.peers_assembly import OtherHosts
from missiond.service.task_signals import TaskAnnouncer
from missiond.store.machine import start_without_copies

_LOGGER = logging.getLogger(__name__)

NO_EVENTS = "no udev events: the battery is looked at only when asked, and while it drains and a lock is held"

BUS_LOST = 1
"""Exit status when the bus went away; systemd starts the agent again."""


_OF_THIS_MACHINE = ("handovers", "permitted-devices.json")
"""What a clone of this machine must not take up: missions on their way, and who may start programs."""


@dataclass(frozen=True, slots=True)
class StatePlaces:
    """Where the agent keeps things, where its helper listens, and which bus it serves."""

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
        self._manager = ServiceManager()
        self._stop = asyncio.Event()
        self._announcer: MissionAnnouncer
        self._processes: HiddenProcesses
        self._others: OtherHosts
        self._handing: HandoverAssembly
        self._requests: StateRequests | None = None

    async def run(self) -> int:
        """Serve until SIGTERM or the bus is lost; the exit status."""
        settings = self._read_settings(None)
        stored = self._manager.take_stored()
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
            self._manager,
            battery,
            server.callers,
            bus_id,
            self._neighbours(private),
        )
        server.count_by(app.persons.of)
        polkit = None if self._places.session else Polkit(asking)
        courier, installer = self._courier(exported, private), PackageKit(private)
        status = self._serve(app, exported, server, polkit, courier, installer)
        restore = app.load()
        await restore.load(stored, bus_id, lambda name: _has_owner(exported, name))
        await logind.start()
        if polkit is not None:
            await polkit.start()
        self._follow(app, logind, polkit, battery, server, status)
        await Oomd(private, app.keep_alive.oomd_changed).start()
        app.mission_watch.start()
        await self._announcer.load(lambda name: _has_owner(exported, name))
        await server.request_name(bus_names.BUS_NAME)
        await self._others.start(lambda name: _has_owner(exported, name))
        await self._go(app, restore, status)
        try:
            return await self._wait(exported, private, asking)
        finally:
            self._manager.stopping()
            await server.drain()
            for part in (self._others, self._processes, app):
                part.close()
            await app.closed()
            battery.close()
            for connection in (exported, private, asking):
                await connection.close()
            self._manager.close()

    async def _go(self, app: Assembly, restore: Recovery, status: Status) -> None:
        """Act on what was restored, and say that everything is there."""
        await app.begin(restore)
        self._announcer.finish()
        status.flush()
        self._manager.ready()
        self._manager.start_watchdog()
        _LOGGER.info("serving %s", bus_names.BUS_NAME)

    def _courier(self, exported: Connection, private: Connection) -> PeerClient:
        """On the bus that is served; on a session's, where no peers are, without file descriptors."""
        return PeerClient(exported if self._places.session else private)

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
        courier: PeerClient,
        installer: PackageKit,
    ) -> Status:
        status = Status(self._manager.status, app.leases, app.power.power, app.degraded)
        counts = Counts(app.leases, partial(server.changed, bus_names.MANAGER_PATH, bus_names.MANAGER))

        def touched() -> None:
            counts.touch()
            status.touch()
            app.power.schedule()

        TaskAnnouncer(server, app.leases, touched)
        authority = Authority(polkit, app.persons.of)
        watch = app.mission_watch
        mission_announcer = MissionAnnouncer(server, watch.missions, watch.snapshots, watch.listeners)
        self._announcer = mission_announcer
        if not self._places.session:  # a user's state may lie on a disk that several machines share
            start_without_copies(self._places.state, _OF_THIS_MACHINE)
        self._processes = processes = HiddenProcesses(mission_announcer.visibility_changed)
        mission_announcer.hidden = lambda: processes.hidden
        self._requests = StateRequests(
            mission_announcer.continue_requested,
            server.callers,
            self._places.state / "handovers",
            lambda: app.settings.continue_.state_max,
        )
        peers = PeersClient(connection, app.degraded, app.persons.of)
        self._handing = handing = HandoverAssembly(
            app,
            server,
            mission_announcer,
            self._requests,
            courier,
            peers,
            authority,
            self._places.state / "handovers",
            installer,
        )
        watch.missions.subscribe(mission_announcer, watch.sharing, *handing.observers)
        self._others = OtherHosts(server, app, authority, status, peers, handing)
        self._add_interfaces(app, server, authority, mission_announcer, status)

        def degraded() -> None:
            server.changed(bus_names.MANAGER_PATH, bus_names.MANAGER, "Degraded")
            status.touch()

        app.degraded.on_change(degraded)
        return status

    def _add_interfaces(
        self,
        app: Assembly,
        server: Server,
        authority: Authority,
        announcer: MissionAnnouncer,
        status: Status,
    ) -> None:
        """Put all that is called on the manager object."""
        watch, others = app.mission_watch, self._others
        server.add(
            bus_names.MANAGER_PATH,
            BackgroundTaskManager(app.requests, app.running, app.owners, app.leases, authority),
            DistributedMissionManager(
                watch.missions,
                watch.snapshots,
                watch.termination,
                app.owners,
                authority,
                announcer,
                others.missions,
                others.continuing,
            ),
            *others.interfaces,
            Manager(app.power, app.leases, app.degraded, lambda: self._reload(app, server, status)),
        )

    def _follow(
        self,
        app: Assembly,
        logind: Logind,
        polkit: Polkit | None,
        battery: Battery,
        server: Server,
        status: Status,
    ) -> None:
        """React to what happens on the host."""
        loop = asyncio.get_running_loop()

        def power_changed() -> None:
            battery = ("BatteryPresent", "BatteryPercent", "LowBattery", "CriticalBattery")
            server.changed(bus_names.MANAGER_PATH, bus_names.MANAGER, *battery, "OnExternalPower")
            status.touch()

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
        logind.on_available(lambda there: self._logind_changed(app, there))
        self._logind_changed(app, logind.available)
        if polkit is not None:
            polkit.on_available(lambda there: _polkit_changed(app, there))
            _polkit_changed(app, polkit.available)
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGINT, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._reload(app, server, status))

    def _logind_changed(self, app: Assembly, there: bool) -> None:
        if there:
            app.degraded.set("logind", None)
            app.background(app.keeper.verify(os.getpid()))
            app.keep_alive.review()
        else:
            app.degraded.set("logind", NO_LOGIND)

    def _reload(self, app: Assembly, server: Server, status: Status) -> None:
        self._manager.reloading()
        settings = self._read_settings(app.settings)
        server.limits = _limits(settings)
        app.configure(settings)
        self._handing.configure(settings)
        status.touch()
        self._manager.ready()

    def _read_settings(self, previous: Settings | None) -> Settings:
        settings, problems = load(previous=previous)
        for problem in problems:
            _LOGGER.log(logging.ERROR if problem.error else logging.WARNING, "%s", problem)
        return settings

    async def _wait(self, *connections: Connection) -> int:
        """Until somebody wants an end."""
        stop = asyncio.ensure_future(self._stop.wait())
        lost = [asyncio.ensure_future(connection.wait_for_disconnect()) for connection in connections]
        done, pending = await asyncio.wait({stop, *lost}, return_when=asyncio.FIRST_COMPLETED)
        for future in pending:
            future.cancel()
        if stop in done:
            return 0
        _LOGGER.error("the bus is gone; what is held stays held, and the next run goes on with it")
        return BUS_LOST


def _limits(settings: Settings) -> CallLimits:
    return CallLimits(calls_in_flight=settings.limits.calls_in_flight)


def _polkit_changed(app: Assembly, there: bool) -> None:
    sentence = "no polkit: only uid 0 may start continuous tasks or act for others"
    app.degraded.set("polkit", None if there else sentence)
    if there:
        app.keeper.settle()  # logind asks polkit about us, and refuses without an answer


async def _has_owner(connection: Connection, name: str) -> bool:
    return bool((await connection.call_bus("NameHasOwner", "s", (name,)))[0])


def _why(error: Exception) -> str:
    """One sentence, which names the file where there is one."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}; is there such a bus, or may the file be opened?"
    return str(error)


def run(places: StatePlaces, report: Callable[[str], None]) -> int:
    """Run the daemon to its end; `report` gets what keeps it from starting."""
    try:
        return asyncio.run(Daemon(places).run())
    except (OSError, AddressError, NameTaken, RemoteError, CallTimeout) as error:
        report(f"missiond can't start: {_why(error)}")
        return 1
