# SPDX-License-Identifier: Apache-2.0
"""The target of a hand-over on a real host: checks an offer, and starts the mission."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from missiond import audit
from missiond.common.backoff import Backoff
from missiond.core.handover.effects import Check, RestartHere, StartUnit
from missiond.core.handover.messages import MAX_REASON
from missiond.core.handover.record import Record
from missiond.core.handover.transfer import FAILED, outcome
from missiond.core.launch.description import LaunchDescription, check_umask, parse
from missiond.core.launch.unit import unit_name
from missiond.core.tasks.locks import printable
from missiond.daemon.handover.executor import Tell
from missiond.daemon.handover.launcher import LaunchTarget, StartUnknown
from missiond.daemon.handover.marks import TransferMark, TransferMarks
from missiond.daemon.handover.moved_tasks import MovedTasks
from missiond.daemon.handover.moved_tasks import parse as parse_tasks
from missiond.daemon.handover.pending_continuations import PendingContinuations
from missiond.daemon.handover.settling import Settling, Started, now
from missiond.daemon.handover.store import HandoverStore
from missiond.errors import AgentError, DistributedServiceFailed, PermissionDenied

SMALL = 1 << 20
"""Bytes of state with certain room after a passed check."""
_LONGEST = 60.0
"""Seconds between looks whether a start has worked of which nobody could tell."""
_LOGGER = logging.getLogger(__name__)
_READY = 3.0
"""Seconds in which a start is got ready, or else it takes a little longer."""
_READY_LARGE = 30.0
"""The same where that is mostly a copy, which the start would have to begin anew."""


class TargetHost:
    """Effects at the target; each coroutine reports to the coordinator in any case."""

    def __init__(
        self,
        launch: LaunchTarget,
        settling: Settling,
        carried: MovedTasks,
        disk: HandoverStore,
        marks: TransferMarks,
        continuations: PendingContinuations,
        tell: Tell,
    ) -> None:
        self._launch = launch
        self._settling = settling
        self._carried = carried
        self._disk = disk
        self._marks = marks
        self._continuations = continuations
        self._tell = tell
        self._ready: dict[str, LaunchDescription] = {}
        self._space: dict[str, int] = {}
        """Bytes for what is handed over, when it was last looked."""
        self._getting: dict[str, asyncio.Event] = {}
        """Starts that are being got ready."""

    async def check(self, effect: Check, record: Record) -> None:
        """Check whether an offered mission could and may be started here."""
        transfer = effect.transfer

        def installing(percent: int) -> None:
            self._tell(lambda coordinator: coordinator.installing(transfer, percent))

        try:
            what = await self._here(record)
            self._check_caller(what, record)
            await self._check_tasks(what, record)
            self._space[transfer] = await self._launch.check(
                what, transfer, 0, install=effect.free_install, progress=installing
            )
        except Exception as error:  # noqa: BLE001 (the coordinator must hear of it)
            code, reason = outcome(error)
            app_id = printable(str(effect.description.get("app_id", "")), MAX_REASON)
            audit.mission_refused(record.peer, "", None, app_id, printable(reason, MAX_REASON))
            self._tell(lambda coordinator: coordinator.checked(transfer, code, reason))
            return
        self._tell(lambda coordinator: coordinator.checked(transfer))

    def room(self, transfer: str, size: int) -> None:
        """Check for room for so much state with the program; raises AgentError.

        The space is the one measured by `check` a moment ago, so as not to delay the state.
        """
        if size > SMALL:
            self._launch.room(size, self._space.get(transfer))

    async def prepare(self, record: Record) -> None:
        """Prepare the start of a received mission, as far as possible."""
        done = self._getting[record.transfer] = asyncio.Event()
        try:
            what = await self._here(record)
            with self._files(record) as files:
                async with asyncio.timeout(_READY if record.size <= SMALL else _READY_LARGE):
                    self._ready[record.transfer] = what
                    await self._launch.prepare(what, record.transfer, record.peer, files)
        except (
            AgentError,
            OSError,
        ) as error:  # TimeoutError among them; whatever it is, the start will say it
            _LOGGER.debug("the start of %s is not ready: %s", record.transfer, error)
        finally:
            done.set()
            if self._getting.get(record.transfer) is done:
                del self._getting[record.transfer]

    def discard(self, transfer: str) -> None:
        """Discard the prepared start of a transfer."""
        self._space.pop(transfer, None)
        what = self._ready.pop(transfer, None)
        if what is not None:
            self._launch.discard(what, transfer)
        self._launch.left(transfer)

    async def start(self, effect: StartUnit) -> None:
        """Start a received mission; success is reported after a short life."""
        if (getting := self._getting.get(effect.transfer)) is not None:
            await getting.wait()
        code, reason = await self._start(effect.record, effect.record.peer, own=False)
        self._tell(lambda coordinator: coordinator.unit_started(effect.transfer, code, reason))

    async def restart(self, effect: RestartHere, cleared: Callable[[Record], Awaitable[bool]]) -> None:
        """Start a mission of this host again after the old one's end; one never stopped is left."""
        record = effect.record
        try:
            stopped = bool(self._marks[record.transfer].identity) or await cleared(record)
        except Exception as error:  # noqa: BLE001 (the coordinator must hear of it)
            code, reason = outcome(error)
        else:
            code, reason = await self._start(record, "", own=True) if stopped else (0, "")
        self._tell(lambda coordinator: coordinator.restarted(effect.transfer, code, reason))

    def _check_caller(self, what: LaunchDescription, record: Record) -> None:
        if not record.asked_here:
            return
        waiting = self._continuations.who(record.continuation)
        if waiting is not None and waiting.uid not in (0, self._launch.uid_of(what)):
            raise PermissionDenied("it is the mission of another user; only root can fetch that")

    async def _here(self, record: Record) -> LaunchDescription:
        """Return how to start it here; what is below the home of its user there is so here as well."""
        return await self._launch.here(described(record), record.along.get("home"))

    async def _check_tasks(self, what: LaunchDescription, record: Record) -> None:
        """Raise DistributedServiceFailed where all of its tasks are to go along and one can't."""
        tasks = parse_tasks(record.along)
        refused = await self._carried.refused(tasks, self._launch.uid_of(what), what.app_id)
        if refused and record.tasks == "require":
            raise DistributedServiceFailed(f"its continuous tasks can't all go along: {'; '.join(refused)}")

    async def _start(self, record: Record, origin: str, *, own: bool) -> tuple[int, str]:
        """Start it with its tasks, and see that it lives on; with code 0, the reason is what was refused."""
        try:
            if not self._marks[record.transfer].settled:
                what = described(record)
                uid = self._launch.uid_of(what, own=own)
                await self._carried.hold(record.transfer, parse_tasks(record.along), uid, what.app_id)
        except AgentError as error:  # the start will say so, or need none of it
            _LOGGER.debug("locks of %s are not held before it starts: %s", record.transfer, error.text)
        try:
            return await self._start_held(record, origin, own=own)
        finally:
            self._carried.release(record.transfer)

    async def _start_held(self, record: Record, origin: str, *, own: bool) -> tuple[int, str]:
        transfer, pauses = record.transfer, Backoff(1.0, _LONGEST)
        while not self._marks[transfer].identity:
            try:
                started = await self._launch_once(record, origin, own=own)
            except StartUnknown:
                # It may run: neither "started" nor "failed" is true for sure before somebody can tell.
                await asyncio.sleep(pauses.next())
            except Exception as error:  # noqa: BLE001 (the coordinator must hear of it)
                return outcome(error)
            else:
                self._marks.started(transfer, record.identity, started)
        # In this order: how it ended is asked by whoever waits for that.
        mark = self._marks[transfer]
        (code, reason), refused = await asyncio.gather(
            self._settled(transfer, mark, own=own), self._adopt(record, mark)
        )
        if code:
            return code, reason
        self._marks.settled(transfer)
        return 0, "; ".join(refused)[:MAX_REASON]

    async def _adopt(self, record: Record, mark: TransferMark) -> list[str]:
        """Give its tasks to what was started, if that has not been done."""
        if not mark.pid_started or mark.settled:
            return []
        try:
            tasks = parse_tasks(record.along)
        except AgentError as error:
            return [error.text]
        return await self._carried.adopt(tasks, mark.pid_started)

    async def _launch_once(self, record: Record, origin: str, *, own: bool) -> Started:
        what = described(record) if own else await self._here(record)
        at = now()
        with self._files(record) as files:
            mission = await self._launch.start(what, record.transfer, origin, files, own=own)
        unit = unit_name(what.app_id, record.transfer)
        return Started(mission.uid, unit, at, mission.seen.leader.pid)

    async def _settled(self, transfer: str, mark: TransferMark, *, own: bool) -> tuple[int, str]:
        """See that it lives on; what is written down of it means the same after a crash."""
        if mark.failed:
            return FAILED, mark.failed
        if mark.settled:
            return 0, ""
        try:
            await self._settling.wait(Started(mark.uid, mark.unit, mark.at))
        except AgentError as error:
            code, reason = outcome(error)
            self._marks.failed(transfer, reason, again=own)
            return code, reason
        return 0, ""

    @contextmanager
    def _files(self, record: Record) -> Iterator[dict[str, int]]:
        """Open the files for the program for the length of the block."""
        files: dict[str, int] = {}
        try:
            if record.size:
                files["state"] = self._disk.open_state(record.transfer)
            files["want_param"] = _memory(json.dumps(dict(record.want)).encode())
            yield files
        finally:
            for fd in files.values():
                os.close(fd)


def described(record: Record) -> LaunchDescription:
    """Return the launch description of a record's mission; raises InvalidParameter."""
    what, _ = parse(dict(record.description))
    return replace(what, umask=check_umask(record.along.get("umask")))


def _memory(data: bytes) -> int:
    fd = os.memfd_create("want_param", os.MFD_CLOEXEC)
    os.write(fd, data)
    return fd
