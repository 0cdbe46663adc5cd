# SPDX-License-Identifier: Apache-2.0
"""What hand-overs ask of the host that gets a mission: whether it can go on here, and to start it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from missiond.agent.continuation_files import Continuations
from missiond.agent.handover_codes import outcome
from missiond.agent.handover_disk import Disk
from missiond.agent.handover_marks import Marks
from missiond.agent.handover_work import Tell
from missiond.agent.launch_target import StartUnknown
from missiond.core.handover.effects import Check, RestartHere, StartUnit
from missiond.core.handover.record import Record
from missiond.core.launch.description import LaunchDescription, parse
from missiond.core.missions import Mission
from missiond.errors import AgentError, PermissionDenied

SMALL = 1 << 20
"""Bytes of state for which there is always room, or the check before it came would have failed."""
_LONGEST = 60.0
_LOGGER = logging.getLogger(__name__)
_READY = 3.0
"""Seconds in which a start is got ready, or else it takes a little longer."""
_READY_LARGE = 30.0
"""The same where that is mostly a copy, which the start would have to begin anew."""


class Launch(Protocol):
    """LaunchTarget, as far as it is needed here; raises AgentError."""

    async def check(
        self,
        what: LaunchDescription,
        transfer: str,
        size: int,
        *,
        install: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Return where it could go on here; how many bytes there is space for."""
        ...

    def room(self, size: int, space: int | None = None) -> None:
        """Return where so much state can be handed to it."""
        ...

    async def prepare(
        self, what: LaunchDescription, transfer: str, origin: str, files: Mapping[str, int]
    ) -> bool:
        """Do all that starting it takes but that; whether that was possible."""
        ...

    def discard(self, what: LaunchDescription, transfer: str) -> None:
        """Undo that."""
        ...

    async def start(
        self,
        what: LaunchDescription,
        transfer: str,
        origin: str,
        files: Mapping[str, int],
        *,
        own: bool = False,
    ) -> Mission:
        """Start it."""
        ...

    def uid_of(self, what: LaunchDescription, *, own: bool = False) -> int:
        """As whom it would run."""
        ...


class TargetHost:
    """Each coroutine tells the book what came of it, whatever happens."""

    def __init__(
        self, launch: Launch, disk: Disk, marks: Marks, continuations: Continuations, tell: Tell
    ) -> None:
        self._launch = launch
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
        """Look whether what is offered could be started here, and may be by whoever asked for it."""
        transfer = effect.transfer

        def installing(percent: int) -> None:
            self._tell(lambda book: book.installing(transfer, percent))

        try:
            what, _ = parse(dict(effect.description))
            self._check_caller(what, record)
            self._space[transfer] = await self._launch.check(
                what, transfer, 0, install=effect.free_install, progress=installing
            )
        except Exception as error:  # noqa: BLE001 (the book must hear of it)
            code, reason = outcome(error)
            self._tell(lambda book: book.checked(transfer, code, reason))
            return
        self._tell(lambda book: book.checked(transfer))

    def room(self, transfer: str, size: int) -> None:
        """Return where so much state can be handed to the program; raises AgentError.

        The space is that which there was when the program was looked for, a moment ago: the state's way over
        is not kept waiting for another look.
        """
        if size > SMALL:
            self._launch.room(size, self._space.get(transfer))

    async def prepare(self, record: Record) -> None:
        """Get the start of what has come from another host ready, as far as that can be done."""
        done = self._getting[record.transfer] = asyncio.Event()
        try:
            what, _ = parse(dict(record.description))
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
        """Nothing will be started that is ready and was not."""
        self._space.pop(transfer, None)
        what = self._ready.pop(transfer, None)
        if what is not None:
            self._launch.discard(what, transfer)

    async def start(self, effect: StartUnit) -> None:
        """Start what came from another host."""
        if (getting := self._getting.get(effect.transfer)) is not None:
            await getting.wait()
        code, reason = await self._start(effect.record, effect.record.peer, own=False)
        self._tell(lambda book: book.unit_started(effect.transfer, code, reason))

    async def restart(self, effect: RestartHere, cleared: Callable[[Record], Awaitable[bool]]) -> None:
        """Start a mission of this host again, once nothing of it runs; what was never stopped is left."""
        record = effect.record
        try:
            stopped = bool(self._marks[record.transfer].identity) or await cleared(record)
        except Exception as error:  # noqa: BLE001 (the book must hear of it)
            code, reason = outcome(error)
        else:
            code, reason = await self._start(record, "", own=True) if stopped else (0, "")
        self._tell(lambda book: book.restarted(effect.transfer, code, reason))

    def _check_caller(self, what: LaunchDescription, record: Record) -> None:
        if not record.asked_here:
            return
        waiting = self._continuations.who(record.continuation)
        if waiting is not None and waiting.uid not in (0, self._launch.uid_of(what)):
            raise PermissionDenied("it is the mission of another user; only root can fetch that")

    async def _start(self, record: Record, origin: str, *, own: bool) -> tuple[int, str]:
        transfer, pause = record.transfer, 1.0
        while not self._marks[transfer].identity:
            try:
                await self._launch_once(record, origin, own=own)
            except StartUnknown:
                # It may run: neither "started" nor "failed" is true for sure before somebody can tell.
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST)
            except Exception as error:  # noqa: BLE001 (the book must hear of it)
                return outcome(error)
            else:
                self._marks.started(transfer, record.identity)
        return 0, ""

    async def _launch_once(self, record: Record, origin: str, *, own: bool) -> None:
        what, _ = parse(dict(record.description))
        with self._files(record) as files:
            await self._launch.start(what, record.transfer, origin, files, own=own)

    @contextmanager
    def _files(self, record: Record) -> Iterator[dict[str, int]]:
        """What the program gets, open for as long as the block lasts."""
        files: dict[str, int] = {}
        try:
            if record.size:
                files["state"] = self._disk.open_state(record.transfer)
            files["want_param"] = _memory(json.dumps(dict(record.want)).encode())
            yield files
        finally:
            for fd in files.values():
                os.close(fd)


def _memory(data: bytes) -> int:
    fd = os.memfd_create("want_param", os.MFD_CLOEXEC)
    os.write(fd, data)
    return fd
