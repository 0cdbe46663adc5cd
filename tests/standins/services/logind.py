# SPDX-License-Identifier: Apache-2.0
"""logind's inhibitor locks. As a program it serves the bus that started it."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import ClassVar

from missiond.bus.wire.message import Incoming
from standins.services.neighbour import Neighbour

PATH = "/org/freedesktop/login1"
ACCESS_DENIED = "org.freedesktop.DBus.Error.AccessDenied"
IN_PROGRESS = "org.freedesktop.login1.OperationInProgress"


@dataclass
class Lock:
    """A lock that was given; it stands while anybody has its other end open."""

    what: str
    who: str
    why: str
    mode: str
    uid: int
    pid: int
    read_end: int = field(repr=False)

    @property
    def held(self) -> bool:
        """Whether it still stands."""
        poll = select.poll()
        poll.register(self.read_end, 0)
        return not poll.poll(0)

    async def until_released(self) -> None:
        """Wait for the last fd of it to be closed."""
        loop = asyncio.get_running_loop()
        released = loop.create_future()

        def ended() -> None:
            if not released.done():
                released.set_result(None)

        loop.add_reader(self.read_end, ended)
        try:
            await released
        finally:
            loop.remove_reader(self.read_end)


class LogindStandIn(Neighbour):
    """Gives a lock to everybody, unless told otherwise. Locks outlive its vanishing, as logind's do."""

    name = "org.freedesktop.login1"
    interface = "org.freedesktop.login1.Manager"
    methods: ClassVar[dict[str, str]] = {"inhibit": "Inhibit", "list_inhibitors": "ListInhibitors"}

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.locks: list[Lock] = []
        """All that were ever given."""
        self.refused: set[str] = set()
        """Words in `what` for which AccessDenied is the answer."""
        self.asleep = False

    @property
    def held(self) -> list[Lock]:
        """Locks that stand."""
        return [lock for lock in self.locks if lock.held]

    def prepare_for_sleep(self, starting: bool) -> None:
        """Announce sleep, or its end; between the two no lock is given."""
        self.asleep = starting
        self.connection.emit(PATH, self.interface, "PrepareForSleep", "b", (starting,))

    async def inhibit(self, call: Incoming, what: str, who: str, why: str, mode: str) -> None:
        """Answer Inhibit."""
        if self.asleep:
            self.connection.reply_error(
                call, IN_PROGRESS, "The operation inhibition has been requested for is under way"
            )
            return
        if self.refused & set(what.split(":")):
            self.connection.reply_error(call, ACCESS_DENIED, "Permission denied")
            return
        [uid] = await self.connection.call_bus("GetConnectionUnixUser", "s", (call.sender,))
        [pid] = await self.connection.call_bus("GetConnectionUnixProcessID", "s", (call.sender,))
        read_end, write_end = os.pipe()
        self.locks.append(Lock(what, who, why, mode, uid, pid, read_end))
        self.connection.reply(call, "h", (0,), (write_end,))
        os.close(write_end)

    async def list_inhibitors(self, call: Incoming) -> None:
        """Answer ListInhibitors."""
        rows = [(lock.what, lock.who, lock.why, lock.mode, lock.uid, lock.pid) for lock in self.held]
        self.connection.reply(call, "a(ssssuu)", (rows,))

    def close(self) -> None:
        """Close what it kept of the locks."""
        for lock in self.locks:
            os.close(lock.read_end)
        self.locks.clear()


@asynccontextmanager
async def running_logind(address: str) -> AsyncIterator[LogindStandIn]:
    """Run it for as long as the block lasts."""
    logind = LogindStandIn(address)
    await logind.appear()
    try:
        yield logind
    finally:
        await logind.vanish()
        logind.close()


async def main() -> None:
    """Serve until the bus ends."""
    async with running_logind(os.environ["DBUS_STARTER_ADDRESS"]) as logind:
        await logind.connection.wait_for_disconnect()


if __name__ == "__main__":
    asyncio.run(main())
