# SPDX-License-Identifier: Apache-2.0
"""Everything that handing missions over is made of, put together."""

from __future__ import annotations

from pathlib import Path

from missiond.bus.server import Server
from missiond.config.settings import Settings
from missiond.core.handover.options import HandoverLimits
from missiond.core.handover.record import Record
from missiond.core.launch.description import parse
from missiond.core.launch.unit_name import transfer_of
from missiond.daemon.assembly import Assembly
from missiond.daemon.authority import Authority
from missiond.daemon.handover.events import HandoverListener
from missiond.daemon.handover.handovers import Handovers
from missiond.daemon.handover.marks import TransferMarks
from missiond.daemon.handover.moved_tasks import CarriedTasks
from missiond.daemon.handover.peer_client import PeerClient
from missiond.daemon.handover.pending_continuations import PendingContinuations
from missiond.daemon.handover.source import SourceHost
from missiond.daemon.handover.state_requests import ContinueRequests
from missiond.daemon.handover.store import Disk
from missiond.daemon.handover.target import TargetHost
from missiond.daemon.launch.launcher import LaunchTarget
from missiond.daemon.launch.missing_programs import Installer, MissingPrograms
from missiond.daemon.launch.settling import Settling
from missiond.daemon.missions.registry import MissionObserver
from missiond.daemon.missions.stop import MissionStop
from missiond.host.systemd.launcher import Launcher
from missiond.service.continuation_signals import ContinueAudience
from missiond.service.continuations import owner_of
from missiond.service.mission_signals import MissionAnnouncer
from missiond.store.permitted_devices import PermittedDevices

_STOP_MORE = 15.0
"""Seconds for the end of what got SIGKILL, or of a service."""


class HandingOver:
    """`observers` want to hear of missions; `start` comes once those of this host are known."""

    def __init__(
        self,
        app: Assembly,
        server: Server,
        announcer: MissionAnnouncer,
        requests: ContinueRequests,
        courier: PeerClient,
        authority: Authority,
        state: Path,
        launcher: Launcher | None = None,
        installer: Installer | None = None,
    ) -> None:
        self._app = app
        self._requests = requests
        watch = app.mission_watch
        launcher = launcher or Launcher()
        self.permitted = PermittedDevices(state.parent / "permitted-devices.json")
        self._launch = LaunchTarget(
            launcher,
            app.keep_alive,
            MissingPrograms(installer=installer),
            watch.missions,
            app.settings.continue_,
        )
        app.keep_alive.logins_needed(self._launch.needed)
        self._stopping = MissionStop(watch.missions.table, watch.termination, watch.members, launcher)
        marks, disk = TransferMarks(app.files), Disk(state)
        self.continuations = PendingContinuations(app.files, app.counters)
        table = watch.missions.table

        def number_here(transfer: str) -> int:
            return next((each.id for each in table if transfer_of(each.seen.unit) == transfer), 0)

        self.audience = audience = ContinueAudience(
            server, self.continuations, self.whose, announcer.concerned, number_here
        )
        self.handovers = handovers = Handovers(courier, disk, marks, audience)
        tell = handovers.work.tell
        carried = CarriedTasks(app.running, app.keeper, app.owners, watch.members, authority.may_lock)
        handovers.source = self._source = SourceHost(
            watch.missions.table, watch.sharing, requests, self._stopping, disk, marks, carried, tell
        )
        self._settling = Settling(watch.missions.table, launcher, 0)
        self._marks = marks
        handovers.target = TargetHost(
            self._launch, self._settling, carried, disk, marks, self.continuations, tell
        )
        courier.listener = self.listener = listener = HandoverListener(handovers, self.permitted)
        self.observers: tuple[MissionObserver, ...] = (self._stopping, self._settling, self._launch, listener)
        self.configure(app.settings)

    async def start(self) -> None:
        """Go on with what an earlier run left."""
        self.permitted.load()
        self.continuations.bus_id = self._app.mission_watch.missions.bus_id
        self.continuations.load()
        wrong = await self.handovers.load()
        self._app.degraded.set("handovers", wrong)
        self._settling.clear_left(self._marks.units())
        if wrong is None:
            self.continuations.keep({each.record.continuation for each in self.handovers.in_flight()})

    def configure(self, settings: Settings) -> None:
        """Put new settings in force for hand-overs that begin from now on."""
        chosen = settings.continue_
        self._requests.state_max = chosen.state_max
        self._launch.settings = chosen
        self._settling.seconds = chosen.settle_time_ms / 1000
        self._source.answer_ms = chosen.answer_timeout_ms
        self._source.stop_seconds = settings.missions.terminate_grace_ms / 1000 + _STOP_MORE
        self.handovers.set_limits(
            HandoverLimits(
                answer=chosen.answer_timeout_ms,
                overall=chosen.accept_timeout_ms,
                overall_free_install=chosen.install_timeout_ms,
                state=chosen.state_max,
            )
        )

    def whose(self, record: Record) -> int:
        """Uid here of whose mission a hand-over is."""

        def mapped(record: Record) -> int:
            return self._launch.uid_of(parse(dict(record.description))[0])

        return owner_of(record, self.continuations, mapped)

    def close(self) -> None:
        """Leave all of it to the next run."""
        self.handovers.close()
        self._launch.close()
        self._settling.close()
        self._stopping.close()
