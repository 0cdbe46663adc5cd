# SPDX-License-Identifier: Apache-2.0
"""Missions that go on elsewhere, or come from there: does on this host what the book of hand-overs says."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from missiond.core.handover import effects as do
from missiond.core.handover.coordinator import Coordinator as Book
from missiond.core.handover.effects import ContinueState, Effect
from missiond.core.handover.messages import Step
from missiond.core.handover.options import ContinueOptions, HandoverLimits
from missiond.core.handover.record import InFlight, Phase, Record
from missiond.core.link.checks import BadMessage
from missiond.core.missions.missions import Mission
from missiond.daemon.handover.executor import Executor
from missiond.daemon.handover.marks import TransferMarks
from missiond.daemon.handover.outbox import Carrier, Outbox
from missiond.daemon.handover.retry import Retry
from missiond.daemon.handover.source import SourceHost
from missiond.daemon.handover.state_transfer import StateFreight, States
from missiond.daemon.handover.store import Disk
from missiond.daemon.handover.target import SMALL, TargetHost
from missiond.daemon.handover.timers import HandoverTimers
from missiond.errors import DistributedServiceFailed, SystemServiceFailed

_LOGGER = logging.getLogger(__name__)


class HandoverCourier(Carrier, StateFreight, Protocol):
    """The courier."""

    def know(self, device_id: str, transfer: str) -> None:
        """Let a transfer be known."""


class Audience(Protocol):
    """Who hears how hand-overs get on; must not raise."""

    def next_number(self) -> int:
        """Return a number for a continuation."""
        ...

    def done(self, continuation: int, code: int, reason: str) -> None:
        """ContinueDone."""

    def progress(self, record: Record, done: int) -> None:
        """It has come to another phase, or so many bytes of its state have come over."""

    def installing(self, record: Record, percent: int) -> None:
        """So much of the installation of its program at the target is done."""

    def changed(self, state: ContinueState, record: Record) -> None:
        """ContinueStateChange."""


class Handovers:
    """One for the host; `source` and `target` are set before `load`."""

    source: SourceHost
    target: TargetHost

    def __init__(
        self, courier: HandoverCourier, disk: Disk, marks: TransferMarks, audience: Audience
    ) -> None:
        self._courier = courier
        self._disk = disk
        self._marks = marks
        self._audience = audience
        self._book = Book(lambda: os.urandom(16).hex())
        self.work = Executor(self._book, self._perform, self._look)
        tell = self.work.tell
        self._post = Outbox(courier, self._heard, self._lost)
        self.states = States(courier, self._post, disk, tell, self._room, self._get_ready, self._lost)
        self._timers = HandoverTimers(
            lambda transfer, timer: tell(lambda book: book.timer_expired(transfer, timer))
        )
        self._tasks: dict[str, set[asyncio.Task[None]]] = {}
        self.stopping: set[int] = set()
        """Missions that are being ended for a hand-over."""
        self._phases: dict[str, Phase] = {}
        self._loading = False
        self._held: list[do.Send] = []
        """Said while no courier was there yet; nobody repeats it, since nothing else is known of it."""
        self._nudges = Retry(self._again)
        self._closed_for = "hand-overs are not ready yet; try again in a moment"

    def say_unpermitted(self, sentence: Callable[[str, str, str], str]) -> None:
        """Have this say who does not let whom do what; see Post."""
        self._post.unpermitted = sentence

    # --- at start and end

    async def load(self) -> str | None:
        """Go on with what an earlier run left, once missions are known; what is wrong, for people."""
        self._marks.load()
        try:
            found = self._disk.load()
        except OSError as error:
            sentence = f"the log of hand-overs can't be read ({error.strerror}): no mission goes on elsewhere"
            self._closed_for = sentence
            return sentence
        self._closed_for = ""
        for record in found.records:
            self._courier.know(record.peer, record.transfer)
        self._loading = True
        await self.work.ask(lambda book: book.load(found.records, found.fences, found.unreadable))
        self._loading = False
        return None

    def link(self, peer: str, *, up: bool) -> None:
        """There is a link to a peer, or none."""
        self._nudges.link(peer, up=up)
        if up:
            held = [message for message in self._held if message.peer == peer]
            self._held = [message for message in self._held if message.peer != peer]
            for message in held:
                self._send(message)
        self.work.tell(lambda book: book.link(peer, up))

    async def received(self, peer: str, transfer: str, step: str, body: Mapping[str, Any]) -> None:
        """Tell the book what a peer says; raises BadMessage.

        After "prepared" a mission may be stopped, and then its state must be on this disk, too: where it is
        still being written there, the book hears of it later.
        """
        if step == Step.PREPARED.value and self._disk.is_settling(transfer):
            self._spawn(transfer, self._prepared(peer, transfer, body))
            return
        await self.work.ask(lambda book: book.received(peer, transfer, step, body))

    def set_limits(self, limits: HandoverLimits) -> None:
        """Use these for hand-overs that begin from now on."""
        self._book.set_limits(limits)

    def close(self) -> None:
        """Leave all of it to the next run."""
        self.work.close()
        self._timers.close()
        self._nudges.close()
        for task in [task for tasks in self._tasks.values() for task in tasks]:
            task.cancel()
        self.states.close()
        self._post.close()
        self._disk.close()

    def check_ready(self) -> None:
        """Raise DistributedServiceFailed where nothing can be handed over."""
        if self._closed_for:
            raise DistributedServiceFailed(self._closed_for)

    # --- people and programs; each raises AgentError

    async def push(self, peer: str, mission: Mission, terms: ContinueOptions) -> None:
        """Have a mission of this host go on there."""
        self.check_ready()
        launch = self.source.launch(mission, stays=terms.keep_source)

        def push(book: Book) -> list[Effect]:
            transfer, effects = book.push(peer, mission.id, launch, terms)
            try:
                self.source.leaves(transfer, mission)
            except SystemServiceFailed as error:
                # what can't be recognised after a restart must not be begun
                return book.state_failed(transfer, error.text)
            return effects

        await self.work.ask(push)

    async def pull(self, peer: str, mission: int, app_id: str, terms: ContinueOptions) -> None:
        """Have a mission of that host go on here."""
        self.check_ready()
        await self.work.ask(lambda book: book.pull(peer, mission, app_id, terms)[1])

    async def reclaim(self, transfer: str) -> None:
        """Take a mission back, whatever the other host has done with it."""
        await self.work.ask(lambda book: book.reclaim(transfer))

    async def drop(self, transfer: str) -> None:
        """Give up what was prepared here."""
        await self.work.ask(lambda book: book.drop(transfer))

    def in_flight(self) -> list[InFlight]:
        """What is not over."""
        return self._book.in_flight()

    # --- effects

    async def _perform(self, effect: Effect) -> None:
        """Raises OSError for what has to be on the disk and is not."""
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
                self._audience.done(continuation, code, reason)
            case do.TellState(_, state, record):
                self._audience.changed(state, record)
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
        self._post.send(message)
        if self._record(message.transfer) is None:
            self._post.forget(message.transfer)

    def _lost(self, peer: str, transfer: str) -> None:
        """Something did not arrive although there is a link: the agent there is away, or was."""
        self._nudges.lost(peer, transfer)

    def _again(self, peer: str) -> None:
        self.work.tell(lambda book: book.link(peer, True))

    def _progress(self, transfer: str, done: int) -> None:
        record = self._record(transfer)
        if record is not None:
            self._audience.progress(record, done)

    def _installing(self, transfer: str, percent: int) -> None:
        record = self._record(transfer)
        if record is not None:
            self._audience.installing(record, percent)

    def _begin(self, effect: Effect) -> None:
        """What reports."""
        transfer = effect.transfer
        record = self._record(transfer)
        match effect:
            case do.Resolve() if record is not None:
                number = self._audience.next_number()
                self.source.resolve(effect, number, stays=record.keep_source)
            case do.AskOwner() if record is not None:
                self._spawn(transfer, self.source.ask(effect, relaunch=record.relaunch))
            case do.CaptureContext():
                self._spawn(transfer, self.source.capture(effect))
            case do.StopMission():
                self._spawn(transfer, self._stop(effect))
            case do.RestartHere():
                self._spawn(transfer, self.target.restart(effect, self.source.cleared))
            case do.Check() if record is not None:
                self._spawn(transfer, self.target.check(effect, record))
            case do.StartUnit():
                self._spawn(transfer, self.target.start(effect))
            case do.SendState() if record is not None:
                self.states.send(effect, record.size)
            case do.ReceiveState() if record is not None:
                self.states.receive(record.peer, effect)

    async def _prepared(self, peer: str, transfer: str, body: Mapping[str, Any]) -> None:
        try:
            await self._disk.settled(transfer)
        except OSError as error:
            reason = f"the state can't be kept: {error.strerror}"
            self.work.tell(lambda book: book.state_failed(transfer, reason))
        else:
            self._heard(peer, transfer, Step.PREPARED.value, body)

    async def _stop(self, effect: do.StopMission) -> None:
        self.stopping.add(effect.mission)
        try:
            await self.source.stop(effect)
        finally:
            self.stopping.discard(effect.mission)

    def _forget(self, transfer: str) -> None:
        self._timers.forget(transfer)
        self._nudges.forget(transfer)
        self.states.forget(transfer)
        self.target.discard(transfer)
        self._phases.pop(transfer, None)
        current = asyncio.current_task()
        for task in self._tasks.pop(transfer, set()):
            if task is not current:
                task.cancel()
        self._post.forget(transfer)
        self._marks.keep({each.record.transfer for each in self.in_flight()} | self.source.continued())

    def _spawn(self, transfer: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        tasks = self._tasks.setdefault(transfer, set())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def _look(self) -> None:
        """Tell callers of phases that are new."""
        for each in self.in_flight():
            record = each.record
            if each.readable and self._phases.get(record.transfer) is not record.phase:
                self._phases[record.transfer] = record.phase
                _LOGGER.debug("hand-over %s is %s", record.transfer, record.phase.value)
                self._audience.progress(record, 0)

    def _record(self, transfer: str) -> Record | None:
        return next((each.record for each in self.in_flight() if each.record.transfer == transfer), None)

    def _room(self, transfer: str, size: int) -> None:
        self.target.room(transfer, size)

    async def _get_ready(self, transfer: str) -> None:
        """The copy for the program need not keep the peer waiting, where it is large and takes its time."""
        record = self._record(transfer)
        if record is None:
            return
        if record.size > SMALL:
            self._spawn(transfer, self.target.prepare(record))
        else:
            await self.target.prepare(record)

    def _heard(self, peer: str, transfer: str, step: str, body: Mapping[str, Any]) -> None:
        """Take in what a peer said, or would have said; nobody waits to hear what is wrong with it."""

        def hear(book: Book) -> list[Effect]:
            try:
                return book.received(peer, transfer, step, body)
            except BadMessage as error:
                _LOGGER.debug("%s of %s: %s", step, transfer, error)
                return []

        self.work.tell(hear)
