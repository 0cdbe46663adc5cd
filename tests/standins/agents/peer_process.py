# SPDX-License-Identifier: Apache-2.0
"""The peer unit as a child process on a bus of its own, beside a stand-in for the agent."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from missiond.bus.variants import variant
from missiond.peers import make_identity
from standins.agents.sharing_agent import SharingAgent
from standins.services.notify_socket import NotifyReceiver, notify_receiver
from standins.services.private_bus import running_bus

ROOT = Path(__file__).parents[3]
NAME = "org.missiond.Peers1"


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class PeerProcess:
    """One host: a directory, a bus, an agent, and the unit while it runs."""

    def __init__(self, directory: Path, bus: str, agent: SharingAgent, manager: NotifyReceiver) -> None:
        self.directory = directory
        self.bus = bus
        self.agent = agent
        self.manager = manager
        self.port = free_port()
        self.log = directory / "log"
        self.ready = False
        self.status = ""
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    @property
    def child(self) -> subprocess.Popen[bytes]:
        """The process that runs."""
        assert self._child is not None
        return self._child

    def spawn(self) -> None:
        """Start the unit."""
        self.ready = False
        inherited = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "HOME")}
        environ = inherited | {
            "PYTHONPATH": str(ROOT / "agent"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DBUS_SYSTEM_BUS_ADDRESS": self.bus,
            "STATE_DIRECTORY": str(self.directory),
            "NOTIFY_SOCKET": self.manager.address,
        }
        command = [sys.executable, "-m", "missiond.peers", "--port", str(self.port), "--listen", "127.0.0.1"]
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stderr=log)

    async def start(self) -> None:
        """Start the unit and wait until it serves."""
        self.spawn()
        await self._until(lambda: self.ready)

    async def until_status(self, *words: str) -> None:
        """Wait until `systemctl status` would show all of these words."""
        await self._until(lambda: all(word in self.status for word in words))

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            for line in (await self.manager.wait()).lines:
                self.ready |= line == "READY=1"
                if line.startswith("STATUS="):
                    self.status = line

    async def exited(self) -> int:
        """Wait for its end; the exit status, negative for a signal."""
        loop = asyncio.get_running_loop()
        pidfd = os.pidfd_open(self.child.pid)
        over = loop.create_future()
        loop.add_reader(pidfd, lambda: None if over.done() else over.set_result(None))
        try:
            await over
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)
        return self.child.wait()

    async def kill(self) -> None:
        """End it without a word."""
        self.child.kill()
        await self.exited()

    async def wait_gone(self) -> None:
        """Wait until the bus knows that it has ended."""
        while await self.agent.connection.name_owner(NAME) is not None:
            await asyncio.sleep(0)

    def end(self) -> None:
        """Make sure that it is gone."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()


@asynccontextmanager
async def peer_process(directory: Path) -> AsyncIterator[PeerProcess]:
    """A host on which the unit does not run yet."""
    directory.mkdir()
    assert make_identity.main([str(directory)]) == 0
    with running_bus() as bus, notify_receiver(directory / "notify") as manager:
        agent = SharingAgent(bus.address)
        await agent.appear()
        host = PeerProcess(directory, bus.address, agent, manager)
        try:
            yield host
        finally:
            host.end()
            await agent.vanish()


async def trust(one: PeerProcess, other: PeerProcess) -> str:
    """Let one trust the other and know its address; the other's id."""
    device_id = await other.agent.device_id()
    options = {"address": variant("s", other.address), "name": variant("s", "other")}
    await one.agent.call("TrustDevice", "sa{sv}", device_id, options)
    return device_id
