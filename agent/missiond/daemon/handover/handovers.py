# SPDX-License-Identifier: Apache-2.0
"""The hand-overs of this host: executes the effects of the coordinator."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Container, Mapping
from typing import Any, Protocol

from missiond import audit
from missiond.common.background_work import BackgroundWork
from missiond.core.handover import effects as do
from missiond.core.handover.coordinator import Coordinator
from missiond.core.handover.effects import ContinueState, Effect
from missiond.core.handover.messages import BEGINS, MAX_REASON, Step
from missiond.core.handover.options import ContinueOptions
from missiond.core.handover.record import InFlight, Phase, Record, Role
from missiond.core.link.checks import BadMessage
from missiond.core.missions.missions import Mission
from missiond.daemon.handover.client import HandoverClient
from missiond.daemon.handover.executor import Executor, HandoverTimers
from missiond.daemon.handover.marks import TransferMarks
from missiond.daemon.handover.outbox import Outbox
from missiond.daemon.handover.source import SourceHost
from missiond.daemon.handover.state_transfer import StateTransfers
from missiond.daemon.handover.store import HandoverStore
from missiond.daemon.handover.target import SMALL, TargetHost
from missiond.daemon.missions.registry import MissionObserver
from missiond.errors import DistributedServiceFailed, InvalidParameter, PermissionDenied, SystemServiceFailed

_LOGGER = logging.getLogger(__name__)
_UNPERMITTED = (
    "this device may neither start programs here nor fetch missions from here; somebody has to give it the "
    "permission 'continue' on this host first"
)


class HandoverEvents(Protocol):
    """The receiver of news of hand-overs, for the bus; must not raise."""

    def next_number(self) -> int:
        """Return a number for a continuation."""
        ...

    def done(self, continuation: int, code: int, reason: str) -> None:
        """Send ContinueDone."""

    def progress(self, record: Record, done: int) -> None:
        """Tell of a new phase, or of so many bytes of the state sent or received."""

    def installing(self, record: Record, percent: int) -> None:
        """Tell how much of the program's installation at the target is done."""

    def changed(self, state: ContinueState, record: Record) -> None:
        """Send ContinueStateChange."""


class Handovers(MissionObserver):
    """All hand-overs of this host, for people, for peers, and for missions (a MissionObserver)."""

    def __init__(
        self,
        client: HandoverClient,
        disk: HandoverStore,
        marks: TransferMarks,
        events: HandoverEvents,
        work: Executor,
        source: SourceHost,
        target: TargetHost,
        permitted: Container[str],
        name_of: Callable[[str], str],
        unpermitted: Callable[[str, str], str],
    ) -> None:
        """Execute the effects of `work`, in part by `source` and `target`.

        :param permitted: devices that may begin hand-overs, whatever the peer unit says.
        :param name_of: names a device for people, before the reasons that come from it.
        :param unpermitted: returns a sentence on a refused permission, given a peer and the refused step.
        """
        self._client = client
        self._disk = disk
        self._marks = marks
        self._events = events
        self._work = work
        self._coordinator = work.coordinator
        self.source = source
        self._target = target
        self._permitted = permitted
        self._name_of = name_of
        self._outbox = Outbox(client, self._heard, self._again, unpermitted)
        self.states = StateTransfers(client, self._outbox, disk, work.tell, target.room, self._get_ready)
        self._timers = HandoverTimers(
            lambda transfer, timer: work.tell(lambda coordinator: coordinator.timer_expired(transfer, timer))
        )
        self._running = BackgroundWork(_LOGGER, "a hand-over")
        self._stopping: set[int] = set()
        """Missions that are being ended for a hand-over."""
        self._phases: dict[str, Phase] = {}
        self._loading = False
        self._held: list[do.Send] = []
        """Said before peers can hear; nobody repeats it, since nothing else is known of it."""
        self._closed_for = "hand-overs are not ready yet; try again in a moment"
        work.serve(self._perform, self._look)

    # --- at start and end

    async def load(self) -> str | None:
        """Continue after an earlier run, once missions are known; return a sentence for people on failure."""
        self._marks.load()
        try:
            found = self._disk.load()
        except OSError as error:
            sentence = f"the log of hand-overs can't be read ({error.strerror}): no mission goes on elsewhere"
            self._closed_for = sentence
            return sentence
        self._closed_for = ""
        for record in found.records:
            self._client.know(record.peer, record.transfer)
        self._loading = True
        await self._work.ask(
            lambda coordinator: coordinator.load(found.records, found.fences, found.unreadable)
        )
        self._loading = False
        return None

    def link(self, peer: str, *, up: bool) -> None:
        """Note the rise or fall of a link to a peer."""
        self._outbox.link(peer, up=up)
        if up:
            held = [message for message in self._held if message.peer == peer]
            self._held = [message for message in self._held if message.peer != peer]
            for message in held:
                self._send(message)
        self._work.tell(lambda coordinator: coordinator.link(peer, up))

    # --- what peers say

    async def received(self, peer: str, transfer: str, step: str, body: str, *, may_continue: bool) -> None:
        """Take in a message of a peer for good; raises AgentError, for the sender.

        The next one of that peer comes when this has returned; after 10 s the sender is told that nobody
        answers.

        :param may_continue: whether the peer unit lets that device begin hand-overs.
        """
        self.check_ready()
        if step in BEGINS and not (may_continue and peer in self._permitted):
            audit.mission_refused(peer, "", None, "", "it has no permission 'continue' here")
            raise PermissionDenied(_UNPERMITTED)
        try:
            content = json.loads(body)
            if not isinstance(content, dict):
                raise BadMessage("not an object")
            await self._received(peer, transfer, step, self._in_its_words(peer, content))
        except (ValueError, RecursionError) as error:  # a BadMessage is a ValueError
            raise InvalidParameter(f"{step!r:.40} of a hand-over: {error!s:.200}") from None
        await self.states.expected(transfer)

    async def _received(self, peer: str, transfer: str, step: str, body: Mapping[str, Any]) -> None:
        """Tell the coordinator what a peer says; raises BadMessage.

        After "prepared" a mission may be stopped, and then its state must be on this disk, too: where it is
        still being written there, the coordinator hears of it later.
        """
        if step == Step.PREPARED.value and self._disk.is_settling(transfer):
            self._running.start(self._prepared(peer, transfer, body), key=transfer)
            return
        await self._work.ask(lambda coordinator: coordinator.received(peer, transfer, step, body))

    def _in_its_words(self, peer: str, body: dict[str, Any]) -> dict[str, Any]:
        """Put before what a peer says to people who says it."""
        name = self._name_of(peer)
        if not name:
            return body
        said = {key: body[key] for key in ("reason", "note") if isinstance(body.get(key), str) and body[key]}
        if any(len(text) > MAX_REASON for text in said.values()):
            return body  # which the coordinator refuses
        return body | {key: f"{name}: {text}"[:MAX_REASON] for key, text in said.items()}

    def progress(self, transfer: str, done: int, *, sending: bool) -> None:
        """Note how many bytes of a state are at the other host, or here."""
        if sending:
            self._work.tell(lambda coordinator: coordinator.state_sent(transfer, done))
        else:
            self.states.arrived(transfer, done)
            self._work.tell(lambda coordinator: coordinator.state_received(transfer, done))

    # --- what missions of this host do

    def removed(self, mission: Mission) -> None:
        """Report the end of a mission, unless StopMission is to report."""
        flying = self.in_flight()
        leaving = {each.record.mission for each in flying if each.record.role is Role.SOURCE}
        if mission.id in leaving - self._stopping:
            self._work.tell(lambda coordinator: coordinator.mission_ended(mission.id))

    def close(self) -> None:
        """End all work, and leave the records to the next run."""
        self._work.close()
        self._timers.close()
        self._running.close()
        self.states.close()
        self._outbox.close()
        self._disk.close()

    def check_ready(self) -> None:
        """Raise DistributedServiceFailed where nothing can be handed over."""
        if self._closed_for:
            raise DistributedServiceFailed(self._closed_for)

    # --- people and programs; each raises AgentError

    async def push(self, peer: str, mission: Mission, terms: ContinueOptions) -> None:
        """Move a mission of this host to a peer."""
        self.check_ready()
        launch = self.source.launch(mission, stays=terms.keep_source)

        def push(coordinator: Coordinator) -> list[Effect]:
            transfer, effects = coordinator.push(peer, mission.id, launch, terms)
            try:
                self.source.leaves(transfer, mission)
            except SystemServiceFailed as error:
                # what can't be recognised after a restart must not be begun
                return coordinator.state_failed(transfer, error.text)
            return effects

        await self._work.ask(push)

    async def pull(self, peer: str, mission: int, app_id: str, terms: ContinueOptions) -> None:
        """Move a mission of a peer here."""
        self.check_ready()
        await self._work.ask(lambda coordinator: coordinator.pull(peer, mission, app_id, terms)[1])

    async def reclaim(self, transfer: str) -> None:
        """Take a mission back, even if the other host has started one."""
        await self._work.ask(lambda coordinator: coordinator.reclaim(transfer))

    async def drop(self, transfer: str) -> None:
        """Give up a hand-over prepared here."""
        await self._work.ask(lambda coordinator: coordinator.drop(transfer))

    def in_flight(self) -> list[InFlight]:
        """List the unfinished hand-overs."""
        return self._coordinator.in_flight()

    # --- effects

    async def _perform(self, effect: Effect) -> None:
        """Execute an effect; raises OSError for a record missing on the disk."""
        match effect:
            case do.Write(_, record):
                await self._disk.save(record)
            case do.Remove(transfer):
                await self._disk.remove(transfer)
            case do.SaveFence(_, identity, fence):
                await self._disk.save_fence(identity, fence)
            case do.Send():
                self._send(effect)
            case do.SetTimer():
                self._timers.set(effect)
            case do.TellDone(_, continuation, code, reason):
                self._events.done(continuation, code, reason)
            case do.TellState(_, state, record):
                self._events.changed(state, record)
            case do.StateProgress(transfer, done, _):
                self._progress(transfer, done)
            case do.Installing(transfer, percent):
                self._installing(transfer, percent)
            case do.Doubled(_, record):
                _LOGGER.warning(
                    "hand-over %s: the mission was reclaimed although the other host had started it, and "
                    "runs on both; people have to end one of the two",
                    record.transfer,
                )
            case do.ForgetTransfer(transfer):
                self._forget(transfer)
            case _:
                self._begin(effect)

    def _send(self, message: do.Send) -> None:
        if self._loading:
            self._held.append(message)
            return
        self._outbox.send(message)
        if self._record(message.transfer) is None:
            self._outbox.forget(message.transfer)

    def _again(self, peer: str) -> None:
        self._work.tell(lambda coordinator: coordinator.link(peer, True))

    def _progress(self, transfer: str, done: int) -> None:
        record = self._record(transfer)
        if record is not None:
            self._events.progress(record, done)

    def _installing(self, transfer: str, percent: int) -> None:
        record = self._record(transfer)
        if record is not None:
            self._events.installing(record, percent)

    def _begin(self, effect: Effect) -> None:
        """Begin an effect with a report."""
        transfer = effect.transfer
        record = self._record(transfer)
        match effect:
            case do.Resolve() if record is not None:
                number = self._events.next_number()
                self.source.resolve(effect, number, stays=record.keep_source)
            case do.AskOwner() if record is not None:
                self._running.start(self.source.ask(effect, relaunch=record.relaunch), key=transfer)
            case do.CaptureContext():
                self._running.start(self.source.capture(effect), key=transfer)
            case do.StopMission():
                self._running.start(self._stop(effect), key=transfer)
            case do.RestartHere():
                self._running.start(self._target.restart(effect, self.source.cleared), key=transfer)
            case do.Check() if record is not None:
                self._running.start(self._target.check(effect, record), key=transfer)
            case do.StartUnit():
                self._running.start(self._target.start(effect), key=transfer)
            case do.SendState() if record is not None:
                self.states.send(effect, record.size)
            case do.ReceiveState() if record is not None:
                self.states.receive(record.peer, effect)

    async def _prepared(self, peer: str, transfer: str, body: Mapping[str, Any]) -> None:
        try:
            await self._disk.settled(transfer)
        except OSError as error:
            reason = f"the state can't be kept: {error.strerror}"
            self._work.tell(lambda coordinator: coordinator.state_failed(transfer, reason))
        else:
            self._heard(peer, transfer, Step.PREPARED.value, body)

    async def _stop(self, effect: do.StopMission) -> None:
        self._stopping.add(effect.mission)
        try:
            await self.source.stop(effect)
        finally:
            self._stopping.discard(effect.mission)

    def _forget(self, transfer: str) -> None:
        self._timers.forget(transfer)
        self.states.forget(transfer)
        self._target.discard(transfer)
        self._phases.pop(transfer, None)
        self._running.cancel(transfer)
        self._outbox.forget(transfer)
        self._marks.keep({each.record.transfer for each in self.in_flight()} | self.source.continued())

    def _look(self) -> None:
        """Tell callers of phases that are new."""
        for each in self.in_flight():
            record = each.record
            if each.readable and self._phases.get(record.transfer) is not record.phase:
                self._phases[record.transfer] = record.phase
                _LOGGER.debug("hand-over %s is %s", record.transfer, record.phase.value)
                self._events.progress(record, 0)

    def _record(self, transfer: str) -> Record | None:
        return next((each.record for each in self.in_flight() if each.record.transfer == transfer), None)

    async def _get_ready(self, transfer: str) -> None:
        """Prepare the start; in the background for a large state, so as not to keep the peer waiting."""
        record = self._record(transfer)
        if record is None:
            return
        if record.size > SMALL:
            self._running.start(self._target.prepare(record), key=transfer)
        else:
            await self._target.prepare(record)

    def _heard(self, peer: str, transfer: str, step: str, body: Mapping[str, Any]) -> None:
        """Take in what a peer said, or would have said; nobody waits to hear what is wrong with it."""

        def hear(coordinator: Coordinator) -> list[Effect]:
            try:
                return coordinator.received(peer, transfer, step, body)
            except BadMessage as error:
                _LOGGER.debug("%s of %s: %s", step, transfer, error)
                return []

        self._work.tell(hear)
