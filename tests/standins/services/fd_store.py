# SPDX-License-Identifier: Apache-2.0
"""A service manager with a file descriptor store, as systemd.service(5) has it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FdStoreStandIn:
    """Reads notifications in the running loop and does what they ask."""

    def __init__(self, place: Path) -> None:
        self.address = str(place)
        self.fds: dict[str, list[int]] = {}
        """What it keeps, by name."""
        self.lines: list[str] = []
        """Every assignment that was not about the store, in order."""
        self._more = asyncio.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(self.address)
        # Other users may tell as well, as the agent does that runs as one.
        place.chmod(0o666)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)

    @property
    def names(self) -> list[str]:
        """What it keeps something under."""
        return sorted(name for name, fds in self.fds.items() if fds)

    @property
    def status(self) -> str:
        """The last STATUS=."""
        return next(line for line in reversed(self.lines) if line.startswith("STATUS="))[7:]

    async def until(self, line: str, times: int = 1) -> None:
        """Wait until a line was told so often in all."""
        while sum(told.startswith(line) for told in self.lines) < times:
            self._more.clear()
            await self._more.wait()

    async def until_names(self, *wanted: str) -> None:
        """Wait until it keeps something under these names and no other."""
        while self.names != sorted(wanted):
            self._more.clear()
            await self._more.wait()

    def close(self) -> None:
        """Close all that it keeps."""
        self._loop.remove_reader(self._socket)
        self._socket.close()
        for name in list(self.fds):
            self._remove(name)
        Path(self.address).unlink()

    def flush(self) -> None:
        """Take in all that was sent so far."""
        self._read()

    def _read(self) -> None:
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self._socket, 65536, 16)
            except BlockingIOError:
                break
            for fd in fds:
                os.set_inheritable(fd, False)
            self._take(data.decode().split("\n"), fds)
        self._more.set()

    def _take(self, lines: list[str], fds: list[int]) -> None:
        name = next((line[7:] for line in lines if line.startswith("FDNAME=")), "stored")
        if "FDSTORE=1" in lines:
            assert "FDPOLL=0" in lines, "systemd would drop the lock when logind restarts"
            self.fds.setdefault(name, []).extend(fds)
            return
        assert not fds
        if "FDSTOREREMOVE=1" in lines:
            self._remove(name)
            return
        self.lines += lines

    def _remove(self, name: str) -> None:
        for fd in self.fds.pop(name, []):
            os.close(fd)


@contextmanager
def fd_store(place: Path) -> Iterator[FdStoreStandIn]:
    """Run one for as long as the block lasts."""
    store = FdStoreStandIn(place)
    try:
        yield store
    finally:
        store.close()
