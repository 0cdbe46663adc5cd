# SPDX-License-Identifier: Apache-2.0
"""What systemd sees of a daemon: ready, status, reload, end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from missiond.bus.connection import Connection
from missiond.bus.introspection import load_specs
from missiond.bus.server import NameTaken, Server
from missiond.config.loader import load
from missiond.config.search_path import SearchPath
from missiond.config.settings import Settings
from missiond.host.systemd import service_run
from missiond.host.systemd.service_run import BUS_LOST, ServiceRun, run_service
from standins.services.fd_store import FdStoreStandIn, fd_store

CONFIGURED = "[Limits]\nMaxTasks=77\n"


class Run:
    """A service that does nothing, and what systemd and a test see of it."""

    def __init__(self, store: FdStoreStandIn, connection: Connection) -> None:
        self.store = store
        self.connection = connection
        self.service = ServiceRun()
        self.text = "idle"
        self.applied: list[Settings] = []
        self.closed = False
        self.started = asyncio.Event()
        self.started.set()
        self.settings = self.service.read_settings()

    async def close(self) -> None:
        assert self.connection.connected or self.text == "lost"
        self.closed = True

    async def run(self) -> int:
        server = Server(self.connection, load_specs(), "/org/missiond/Agent1")
        self.service.touch()  # nothing is shown yet
        self.service.follow_signals(self.applied.append)
        await self.started.wait()
        async with self.service.ending(server, self.connection, close=self.close):
            return await self.service.serve(self.connection, status=lambda: self.text)


@pytest.fixture
async def run(system_bus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Run]:
    search = SearchPath((tmp_path,), frozenset({os.getuid()}))
    monkeypatch.setattr(service_run, "load", partial(load, search))
    connection = await Connection.open(system_bus)
    with fd_store(tmp_path / "notify") as store:
        monkeypatch.setenv("NOTIFY_SOCKET", store.address)
        yield Run(store, connection)
    await connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_from_ready_to_the_end(run: Run, number: signal.Signals) -> None:
    running = asyncio.ensure_future(run.run())
    await run.store.until("READY=1")
    assert run.store.lines == ["STATUS=idle", "READY=1"]
    for text in ("busy", "idle"):  # gathered: nothing is new in the end
        run.text = text
        run.service.touch()
    run.service.flush()
    run.text = "at work"
    run.service.touch()
    await run.store.until("STATUS=at work")
    os.kill(os.getpid(), number)
    assert await running == 0
    run.store.flush()
    assert run.store.lines == ["STATUS=idle", "READY=1", "STATUS=at work", "STOPPING=1"]
    assert run.closed
    assert not run.connection.connected


async def test_a_reload_puts_the_configuration_in_force(run: Run, tmp_path: Path) -> None:
    running = asyncio.ensure_future(run.run())
    await run.store.until("READY=1")
    (tmp_path / "missiond.conf").write_text(CONFIGURED)
    os.kill(os.getpid(), signal.SIGHUP)
    await run.store.until("READY=1", 2)
    assert [settings.limits.max_tasks for settings in run.applied] == [77]
    run.service.stop()
    assert await running == 0


async def test_a_reload_before_it_is_ready(run: Run, tmp_path: Path) -> None:
    run.started.clear()
    running = asyncio.ensure_future(run.run())
    await asyncio.sleep(0)
    (tmp_path / "missiond.conf").write_text(CONFIGURED)
    os.kill(os.getpid(), signal.SIGHUP)  # which kills whoever does not listen
    await asyncio.sleep(0.01)
    assert [settings.limits.max_tasks for settings in run.applied] == [77]
    run.started.set()
    await run.store.until("READY=1")
    assert run.store.lines == ["STATUS=idle", "READY=1"]
    run.service.stop()
    assert await running == 0


async def test_without_its_bus_it_ends(run: Run) -> None:
    running = asyncio.ensure_future(run.run())
    await run.store.until("READY=1")
    run.text = "lost"
    await run.connection.close()
    assert await running == BUS_LOST
    assert run.closed


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(2, "No such file", "/a/bus"), "/a/bus: No such file; is there such a bus, or may"),
        (NameTaken("a.b is taken"), "a.b is taken"),
    ],
)
def test_what_keeps_it_from_starting_is_said(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    monkeypatch.delenv("INVOCATION_ID", raising=False)
    lines: list[str] = []

    async def fail() -> int:
        raise error

    with ThreadPoolExecutor() as thread:  # asyncio.run() would leave this thread's loop open
        assert thread.submit(run_service, "missiond", fail(), lines.append, pause=60).result() == 1
    assert len(lines) == 1
    assert lines[0].startswith(f"missiond can't start: {said}")
