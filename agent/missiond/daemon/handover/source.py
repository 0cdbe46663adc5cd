# SPDX-License-Identifier: Apache-2.0
"""The source of a hand-over on a real host: finds the mission, takes the state, stops the program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from missiond.bus.variants import to_variants
from missiond.config.settings import Settings
from missiond.core.handover.coordinator import Coordinator
from missiond.core.handover.effects import AskOwner, CaptureContext, Effect, Resolve, StopMission, Timer
from missiond.core.handover.options import MovingMission
from missiond.core.handover.record import Record
from missiond.core.handover.transfer import outcome
from missiond.core.launch.unit import transfer_of
from missiond.core.missions.missions import Mission, MissionTable
from missiond.daemon.handover.executor import Tell
from missiond.daemon.handover.launch_description import below_home, describe, may_relaunch, with_habits
from missiond.daemon.handover.marks import TransferMark, TransferMarks
from missiond.daemon.handover.moved_tasks import MovedTasks
from missiond.daemon.handover.state_requests import Outcome, StateAnswer, StateRequests
from missiond.daemon.handover.store import HandoverStore
from missiond.daemon.missions.shared_missions import SharedMissions
from missiond.daemon.missions.stop import MissionStop
from missiond.daemon.missions.terminate import check_may_end
from missiond.errors import (
    AgentError,
    DistributedServiceFailed,
    InvalidParameter,
    MissionNotFound,
    NoMissionForApplication,
    SystemServiceFailed,
)
from missiond.host.processes import stat as process_stat

_STOP_MORE = 15.0
"""Seconds for the end of what got SIGKILL, or of a service."""
_LATE = 5.0
"""Seconds beyond the coordinator's own time for an answer."""


class SourceHost:
    """Effects at the source; each coroutine reports to the coordinator in any case."""

    def __init__(
        self,
        table: MissionTable,
        sharing: SharedMissions,
        requests: StateRequests,
        stopping: MissionStop,
        disk: HandoverStore,
        marks: TransferMarks,
        tasks: MovedTasks,
        settings: Callable[[], Settings],
        tell: Tell,
    ) -> None:
        self._tasks = tasks
        self._settings = settings
        self._table = table
        self._sharing = sharing
        self._requests = requests
        self._stopping = stopping
        self._disk = disk
        self._marks = marks
        self._tell = tell

    def launch(self, mission: Mission, *, stays: bool) -> MovingMission:
        """Describe a mission for another host; raises AgentError with the obstacle.

        :param stays: whether the mission also stays here.
        """
        if not stays:
            check_may_end(mission)
        found = with_habits(mission, describe(mission)[0])
        registration = mission.registration
        has_owner = registration is not None and registration.continuable and bool(registration.connection)
        transfer = transfer_of(mission.seen.unit)
        along = {"umask": found.umask, "home": below_home(mission, found.cwd)}
        return MovingMission(
            description=replace(found, umask=None).mapping(),
            along={name: value for name, value in along.items() if value is not None},
            tasks=tuple(self._tasks.of(mission)),
            identity=self._marks[transfer].identity if transfer is not None else "",
            app_id=found.app_id,
            has_owner=has_owner,
            relaunch=may_relaunch(mission),
        )

    def continued(self) -> set[str]:
        """Return the transfers with a mission here."""
        found = (transfer_of(mission.seen.unit) for mission in self._table)
        return {transfer for transfer in found if transfer is not None}

    def leaves(self, transfer: str, mission: Mission, *, told: bool = False) -> None:
        """Note the mission of a transfer, and the order to stop; raises SystemServiceFailed."""
        try:
            self._marks.leaves(transfer, mission, told=told)
        except OSError as error:
            raise SystemServiceFailed(
                f"the runtime directory can't be written to: {error.strerror}"
            ) from None

    def newest(self, missions: list[Mission], app_id: str) -> Mission:
        """Choose among missions of an application; raises NoMissionForApplication."""
        found = [mission for mission in missions if mission.seen.app_id == app_id]
        if not found:
            raise NoMissionForApplication(f"no mission of application {app_id!r:.80} runs there")
        return max(found, key=lambda each: (each.continuable, each.seen.started, each.id))

    def resolve(self, effect: Resolve, continuation: int, *, stays: bool) -> None:
        """Look up the mission for a peer, among the shared ones."""
        transfer = effect.transfer
        try:
            if effect.mission:
                mission = self._sharing.find(effect.mission)
            else:
                mission = self.newest(self._sharing.missions(), effect.app_id)
            launch = self.launch(mission, stays=stays)
            self.leaves(transfer, mission)
        except AgentError as error:
            code, reason = outcome(error)
            self._tell(lambda coordinator: coordinator.not_resolved(transfer, code, reason))
            return
        self._tell(lambda coordinator: coordinator.resolved(transfer, mission.id, launch, continuation))

    async def ask(self, effect: AskOwner, *, relaunch: bool) -> None:
        """Ask the program for the state."""
        transfer = effect.transfer
        mission = self._find(transfer, effect.mission)
        if mission is None:
            self._failed(transfer, "the mission ended by itself")
            return
        seconds = self._settings().continue_.answer_timeout_ms / 1000 + _LATE
        want = to_variants(effect.want)
        try:
            answer = await self._requests.ask(mission, effect.continuation, effect.peer, want, seconds)
        except AgentError as error:
            self._failed(transfer, error.text)
            return
        if answer.outcome is Outcome.AGREED:
            self._tell(lambda coordinator: _agreed(coordinator, transfer, agree=True))
            await self._keep(transfer, answer)
        elif answer.outcome is Outcome.REFUSED and answer.reason:
            self._failed(transfer, answer.reason)
        elif answer.outcome is Outcome.REFUSED:
            self._tell(lambda coordinator: _agreed(coordinator, transfer, agree=False))
        elif answer.outcome is Outcome.NOBODY and relaunch:
            # as if it did not answer: it is started anew elsewhere then
            self._tell(lambda coordinator: coordinator.timer_expired(transfer, Timer.ANSWER))
        elif answer.outcome is Outcome.NOBODY:
            self._failed(transfer, "the application left before it answered")

    async def capture(self, effect: CaptureContext) -> None:
        """Keep an empty state for a program not to be asked."""
        await self._keep(effect.transfer, StateAnswer(Outcome.AGREED))

    async def stop(self, effect: StopMission) -> None:
        """Stop the mission."""
        transfer = effect.transfer
        try:
            await self._stop(transfer, self._find(transfer, effect.mission))
        except MissionNotFound:
            pass
        except Exception as error:  # noqa: BLE001 (the coordinator must hear of it)
            _, reason = outcome(error)
            self._tell(lambda coordinator: coordinator.stop_failed(transfer, reason))
            return
        self._tell(lambda coordinator: coordinator.mission_stopped(transfer))

    async def cleared(self, record: Record) -> bool:
        """Make sure of the mission's end before a restart; False where never stopped.

        Raises AgentError for a mission that does not end.
        """
        mark = self._marks[record.transfer]
        mission = self._find(record.transfer, mark.mission) if mark.mission else None
        if mission is None and not _runs(mark):
            return True
        if not mark.told:
            return False
        try:
            await self._stop(record.transfer, mission)
        except MissionNotFound:
            return True
        return True

    async def _stop(self, transfer: str, mission: Mission | None) -> None:
        if mission is None:
            if _runs(self._marks[transfer]):
                raise DistributedServiceFailed("its program runs, but is no mission any more")
            return
        check_may_end(mission)
        self.leaves(transfer, mission, told=True)
        grace = self._settings().missions.terminate_grace_ms / 1000
        await self._stopping.stop(mission, grace + _STOP_MORE)

    def _find(self, transfer: str, mission_id: int) -> Mission | None:
        """Return the mission, if that number still names it."""
        if mission_id not in self._table:
            return None
        mission = self._table.find(mission_id)
        mark = self._marks[transfer]
        return mission if not mark.mission or mark.is_of(mission) else None

    async def _keep(self, transfer: str, answer: StateAnswer) -> None:
        try:
            if answer.file is not None:
                size, sha256 = await self._disk.keep_file(transfer, answer.file)
            else:
                size, sha256 = await self._disk.keep(transfer, answer.state)
        except OSError as error:
            self._failed(transfer, f"the state can't be kept: {error.strerror}")
            return
        self._tell(lambda coordinator: coordinator.state_captured(transfer, size, sha256))

    def _failed(self, transfer: str, reason: str) -> None:
        self._tell(lambda coordinator: coordinator.state_failed(transfer, reason))


def _agreed(coordinator: Coordinator, transfer: str, *, agree: bool) -> list[Effect]:
    """Report the owner's answer, without an error for a late one."""
    try:
        return coordinator.owner_answered(transfer, agree)
    except InvalidParameter:
        return []


def _runs(mark: TransferMark) -> bool:
    """Whether the process that led the mission runs; one that its parent has not waited for does not."""
    if not mark.pid:
        return False
    try:
        stat = process_stat.read(mark.pid)
    except (OSError, ValueError):
        return False
    return stat.start_ticks == mark.start_ticks and stat.is_alive
