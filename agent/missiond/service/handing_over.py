# SPDX-License-Identifier: Apache-2.0
"""Everything that handing missions over is made of, put together."""

from __future__ import annotations

from pathlib import Path

from missiond.agent.absent_programs import AbsentPrograms, Installer
from missiond.agent.application import Application
from missiond.agent.continuation_files import Continuations
from missiond.agent.continue_requests import ContinueRequests
from missiond.agent.courier import Courier
from missiond.agent.handover_disk import Disk
from missiond.agent.handover_listener import HandoverListener
from missiond.agent.handover_marks import Marks
from missiond.agent.handover_source import SourceHost
from missiond.agent.handover_target import TargetHost
from missiond.agent.handovers import Handovers
from missiond.agent.launch_target import LaunchTarget
from missiond.agent.missions import MissionObserver
from missiond.agent.stopping import Stopping
from missiond.bus.server import Server
from missiond.config.settings import Settings
from missiond.core.handover.limits import Limits
from missiond.core.handover.record import Record
from missiond.core.launch.description import parse
from missiond.host.launcher import Launcher
from missiond.service.continue_audience import ContinueAudience
from missiond.service.continuing import owner_of
from missiond.service.mission_announcer import MissionAnnouncer
from missiond.state.permitted_devices import PermittedDevices

_STOP_MORE = 15.0
"""Seconds for the end of what got SIGKILL, or of a service."""


class HandingOver:
    """`observers` want to hear of missions; `start` comes once those of this host are known."""

    def __init__(
        self,
        app: Application,
        server: Server,
        announcer: MissionAnnouncer,
        requests: ContinueRequests,
        courier: Courier,
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
            AbsentPrograms(installer=installer),
            watch.missions,
            app.settings.continue_,
        )
        app.keep_alive.logins_needed(self._launch.needed)
        self._stopping = Stopping(watch.missions.table, watch.termination, watch.members, launcher)
        marks, disk = Marks(app.files), Disk(state)
        self.continuations = Continuations(app.files, app.counters)
        audience = ContinueAudience(server, self.continuations, self.whose, announcer.concerned)
        self.handovers = handovers = Handovers(courier, disk, marks, audience)
        tell = handovers.work.tell
        handovers.source = self._source = SourceHost(
            watch.missions.table, watch.sharing, requests, self._stopping, disk, marks, tell
        )
        handovers.target = TargetHost(self._launch, disk, marks, self.continuations, tell)
        courier.listener = listener = HandoverListener(handovers, self.permitted)
        self.observers: tuple[MissionObserver, ...] = (self._stopping, self._launch, listener)
        self.configure(app.settings)

    async def start(self) -> None:
        """Go on with what an earlier run left."""
        self.permitted.load()
        self.continuations.bus_id = self._app.mission_watch.missions.bus_id
        self.continuations.load()
        wrong = await self.handovers.load()
        self._app.degraded.set("handovers", wrong)
        if wrong is None:
            self.continuations.keep({each.record.continuation for each in self.handovers.in_flight()})

    def configure(self, settings: Settings) -> None:
        """Put new settings in force for hand-overs that begin from now on."""
        chosen = settings.continue_
        self._requests.state_max = chosen.state_max
        self._launch.settings = chosen
        self._source.answer_ms = chosen.answer_timeout_ms
        self._source.stop_seconds = settings.missions.terminate_grace_ms / 1000 + _STOP_MORE
        self.handovers.set_limits(
            Limits(
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
        self._stopping.close()
