# SPDX-License-Identifier: Apache-2.0
"""The assembly of hand-overs."""

from __future__ import annotations

import os
from pathlib import Path

from missiond.bus.server import Server
from missiond.config.settings import Settings
from missiond.core.handover.coordinator import Coordinator
from missiond.core.handover.messages import Step
from missiond.core.handover.options import HandoverLimits
from missiond.core.handover.record import Record
from missiond.core.launch.description import parse
from missiond.core.launch.unit import transfer_of
from missiond.daemon.assembly import Assembly
from missiond.daemon.authority import Authority
from missiond.daemon.handover.client import HandoverClient
from missiond.daemon.handover.executor import Executor
from missiond.daemon.handover.handovers import Handovers
from missiond.daemon.handover.launcher import LaunchTarget, MissingPrograms
from missiond.daemon.handover.marks import TransferMarks
from missiond.daemon.handover.moved_tasks import MovedTasks
from missiond.daemon.handover.pending_continuations import PendingContinuations
from missiond.daemon.handover.settling import Settling
from missiond.daemon.handover.source import SourceHost
from missiond.daemon.handover.state_requests import StateRequests
from missiond.daemon.handover.store import HandoverStore
from missiond.daemon.handover.target import TargetHost
from missiond.daemon.missions.registry import MissionObserver
from missiond.daemon.missions.stop import MissionStop
from missiond.daemon.peering.peers_client import SHOWN, PeersClient
from missiond.host.package_kit import PackageKit
from missiond.host.systemd.launcher import Launcher
from missiond.service.continuation_signals import ContinuationSignals
from missiond.service.continuations import owner_of
from missiond.service.mission_signals import MissionAnnouncer
from missiond.store.permitted_devices import PermittedDevices


class HandoverAssembly:
    """The parts of hand-overs; `observers` are for the registry, `start` follows the first scan."""

    def __init__(
        self,
        app: Assembly,
        server: Server,
        announcer: MissionAnnouncer,
        requests: StateRequests,
        handover_client: HandoverClient,
        peers: PeersClient,
        authority: Authority,
        state: Path,
        installer: PackageKit,
    ) -> None:
        """Build the parts; `handover_client` takes descriptors, `peers` knows the names of devices."""
        self._app = app
        self.requests = requests
        self._peers = peers
        self.client = handover_client
        watch, table = app.mission_watch, app.mission_watch.missions.table
        launcher = Launcher()
        self.permitted = PermittedDevices(state.parent / "permitted-devices.json")
        self._launch = LaunchTarget(
            launcher,
            app.keep_alive,
            MissingPrograms(installer=installer),
            watch.missions,
            lambda: app.settings.continue_,
        )
        app.keep_alive.logins_needed(self._launch.needed)
        self._stopping = MissionStop(table, watch.termination, watch.members, launcher)
        self._settling = Settling(table, launcher, lambda: app.settings.continue_.settle_time_ms / 1000)
        self._marks = TransferMarks(app.files)
        self.continuations = PendingContinuations(app.files, app.counters, app.bus_id)

        def number_here(transfer: str) -> int:
            return next((each.id for each in table if transfer_of(each.seen.unit) == transfer), 0)

        signals = ContinuationSignals(
            server, self.continuations, self.whose, announcer.concerned, number_here, peers.name_of
        )
        carried = MovedTasks(app.running, app.keeper, app.owners, watch.members_now, authority.may_lock)
        self._coordinator = Coordinator(lambda: os.urandom(16).hex())
        self.handovers = self._handovers(signals, carried, HandoverStore(state))
        self.observers: tuple[MissionObserver, ...] = (
            self._stopping, self._settling, self._launch, self.handovers,
        )  # fmt: skip
        self.configure(app.settings)

    def _handovers(self, signals: ContinuationSignals, carried: MovedTasks, disk: HandoverStore) -> Handovers:
        watch, marks, settings = self._app.mission_watch, self._marks, lambda: self._app.settings
        work = Executor(self._coordinator)
        source = SourceHost(
            watch.missions.table, watch.sharing, self.requests, self._stopping, disk, marks, carried,
            settings, work.tell,
        )  # fmt: skip
        target = TargetHost(self._launch, self._settling, carried, disk, marks, self.continuations, work.tell)
        return Handovers(
            self.client, disk, marks, signals, work, source, target, self.permitted, self._peers.shown,
            self._unpermitted,
        )  # fmt: skip

    async def start(self) -> None:
        """Continue after an earlier run."""
        self.permitted.load()
        self.continuations.load()
        wrong = await self.handovers.load()
        self._app.degraded.set("handovers", wrong)
        self._settling.clear_left(self._marks.units())
        if wrong is None:
            self.continuations.keep({each.record.continuation for each in self.handovers.in_flight()})

    def configure(self, settings: Settings) -> None:
        """Put new limits in force for later hand-overs."""
        chosen = settings.continue_
        self._coordinator.set_limits(
            HandoverLimits(
                answer=chosen.answer_timeout_ms,
                overall=chosen.accept_timeout_ms,
                overall_free_install=chosen.install_timeout_ms,
                state=chosen.state_max,
            )
        )

    def whose(self, record: Record) -> int:
        """Return the uid here of the user of a mission on the move."""

        def mapped(record: Record) -> int:
            return self._launch.uid_of(parse(dict(record.description))[0])

        return owner_of(record, self.continuations, mapped)

    def close(self) -> None:
        """End all parts, and leave the records to the next run."""
        self.client.close()
        self.handovers.close()
        self._launch.close()
        self._settling.close()
        self._stopping.close()

    def _unpermitted(self, device_id: str, step: str) -> str:
        """Say what a peer refuses, and what somebody has to do there; names as both hosts are called."""
        there = self._peers.shown(device_id)
        here = self._peers.local_name or self._peers.local_id[:SHOWN]
        what = "start programs" if step == Step.OFFER.value else "fetch missions"
        return f"{there} does not let {here} {what}; on {there}: missionctl peers allow {here} continue"
