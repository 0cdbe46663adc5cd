# SPDX-License-Identifier: Apache-2.0
"""The log of hand-overs and the states, written in threads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from missiond.core.handover.record import Record
from missiond.daemon.handover.state_requests import StateFile
from missiond.store import handover_state_files, safe_files
from missiond.store.handover_log import FoundHandover, HandoverFiles
from missiond.store.partial_state import StatePart

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

Value = TypeVar("Value")
RESERVE, MOST_RESERVE = 32 << 20, 1 << 30
"""Least bytes left free on the disk by a state: a twentieth of the disk, within these bounds."""
_PART = 20


def reserve(disk: int) -> int:
    """Return the bytes to leave free on a disk of so many, against peers filling the disk."""
    return max(RESERVE, min(disk // _PART, MOST_RESERVE))


class HandoverStore:
    """The log, written by one thread alone, and the states on disk; all methods raise OSError."""

    def __init__(self, directory: Path) -> None:
        self._files = HandoverFiles(directory)
        self._log = _Threads(1, "handover-log")
        self._states = _Threads(2, "handover-state")
        self._settling: dict[str, asyncio.Future[None]] = {}

    def load(self) -> FoundHandover:
        """Read the log of an earlier run, at once, before anything else is served."""
        return self._files.load()

    async def save(self, record: Record) -> None:
        """Write a record to the disk."""
        await self._log.do(lambda: self._files.save(record))

    async def save_fence(self, identity: str, fence: int) -> None:
        """Write a fence to the disk."""
        await self._log.do(lambda: self._files.save_fence(identity, fence))

    async def remove(self, transfer: str) -> None:
        """Delete a record and the state."""
        self._settling.pop(transfer, None)
        await self._log.do(lambda: self._files.remove(transfer))

    async def keep(self, transfer: str, state: bytes) -> tuple[int, str]:
        """Write down a state, and return size and checksum."""
        directory = self._files.open()
        return await self._states.do(lambda: handover_state_files.keep(directory, transfer, state))

    async def keep_file(self, transfer: str, file: StateFile) -> tuple[int, str]:
        """Write down a state from a file, and close the file; on the disk once `settled` returns."""
        directory = self._files.open()
        adopted = False

        def keep() -> tuple[int, str]:
            nonlocal adopted
            try:
                adopted = handover_state_files.adopt_file(directory, transfer, file.fd)
                if adopted:
                    return file.size, file.sha256
                return handover_state_files.keep_file(directory, transfer, file.fd, file.size)
            finally:
                if not adopted:
                    file.close()

        kept = await self._states.do(keep)
        if adopted:
            self._settle(transfer, directory, file)
        return kept

    def is_settling(self, transfer: str) -> bool:
        """Whether `settled` would not return at once."""
        return transfer in self._settling

    async def settled(self, transfer: str) -> None:
        """Return once the whole kept state is on the disk."""
        if (settling := self._settling.get(transfer)) is not None:
            await asyncio.shield(settling)

    def open_state(self, transfer: str) -> int:
        """Open a state for reading; to be closed by the caller."""
        return handover_state_files.open_state(self._files.open(), transfer)

    def make_part(self, transfer: str, size: int) -> StatePart:
        """Open an empty file for a coming state, given enough room; to be closed by the caller."""
        directory = self._files.open()
        space = os.fstatvfs(directory)
        free = space.f_bavail * space.f_frsize
        if size + reserve(space.f_blocks * space.f_frsize) > free:
            raise OSError(28, f"{size} bytes of state do not fit the disk, with {free} left")
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
        return StatePart(transfer, safe_files.open_regular(_part(transfer), flags, dir_fd=directory))

    async def follow_part(self, part: StatePart, upto: int) -> None:
        """Do the possible part of `seal_part` ahead of the rest, one call at a time."""
        fd = os.dup(part.fd)
        await self._states.do(lambda: part.follow(fd, upto))

    async def seal_part(self, part: StatePart, size: int, sha256: str) -> None:
        """Check a whole state, and put the file in place on the disk; raises WrongState."""
        directory, fd, transfer = self._files.open(), part.fd, part.transfer

        def place() -> None:
            os.rename(_part(transfer), f"{transfer}.state", src_dir_fd=directory, dst_dir_fd=directory)
            os.fsync(directory)

        both = (self._states.do(lambda: part.check(size, sha256)), self._states.do(lambda: os.fsync(fd)))
        for error in await asyncio.gather(*both, return_exceptions=True):
            if error is not None:
                raise error
        await self._states.do(place)

    def close(self) -> None:
        """Begin nothing more."""
        self._log.close()
        self._states.close()
        self._files.close()

    def _settle(self, transfer: str, directory: int, file: StateFile) -> None:
        def settle() -> None:
            try:
                handover_state_files.settle(directory, file.fd)
            finally:
                file.close()

        settling = asyncio.ensure_future(self._states.do(settle))
        self._settling[transfer] = settling
        settling.add_done_callback(lambda done: self._has_settled(transfer, done))

    def _has_settled(self, transfer: str, settling: asyncio.Future[None]) -> None:
        """One that failed stays, for whoever asks."""
        failed = not settling.cancelled() and settling.exception() is not None
        if not failed and self._settling.get(transfer) is settling:
            del self._settling[transfer]


class _Threads:
    """At most `count` of them, begun with the first work: an agent at rest has none."""

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._pool: ThreadPoolExecutor | None = None

    async def do(self, work: Callable[[], Value]) -> Value:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  (not at rest either)

            self._pool = ThreadPoolExecutor(self._count, self._name)
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


def _part(transfer: str) -> str:
    return f"{transfer}.state.part"
