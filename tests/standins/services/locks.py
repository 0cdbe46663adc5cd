# SPDX-License-Identifier: Apache-2.0
"""logind and the fd store without a bus: locks are pipes."""

from __future__ import annotations

import asyncio
import os

from missiond.core.tasks.locks import LockSpec
from missiond.host.systemd.logind import Inhibitor, LockRefused


class LocksStandIn:
    """Locks are pipes: the read end tells whether anybody still holds the lock."""

    def __init__(self) -> None:
        self.locks: list[tuple[LockSpec, int, int]] = []
        self.errors: list[Exception] = []
        self.gate: asyncio.Event | None = None
        self.refuse: set[str] = set()
        self.start_failure = ""

    async def inhibit(self, what: str, who: str, why: str) -> int:
        if self.gate is not None:
            await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        if self.refuse & set(what.split(":")):
            raise LockRefused("not authorised")
        read, write = os.pipe()
        self.locks.append((LockSpec(tuple(what.split(":")), who, why), read, os.fstat(write).st_ino))
        return write

    async def inhibitors(self) -> list[Inhibitor]:
        return [
            Inhibitor(what=spec.what_text, who=spec.who, why=spec.why, mode="block", uid=0, pid=os.getpid())
            for spec in self.held()
        ]

    def held(self) -> list[LockSpec]:
        return [spec for spec, read, _ in self.locks if _has_writer(read)]

    def forget(self) -> None:
        for _, read, _ in self.locks:
            os.close(read)
        self.locks.clear()


class StoreStandIn:
    """An fd store that duplicates, as the real one does."""

    def __init__(self) -> None:
        self.fds: dict[str, int] = {}

    def store(self, name: str, fd: int) -> None:
        assert name not in self.fds
        self.fds[name] = os.dup(fd)

    def unstore(self, name: str) -> None:
        os.close(self.fds.pop(name))

    def hand_over(self) -> dict[str, int]:
        return {name: os.dup(fd) for name, fd in self.fds.items()}


def _has_writer(read: int) -> bool:
    os.set_blocking(read, False)
    try:
        return os.read(read, 1) != b""
    except BlockingIOError:
        return True
