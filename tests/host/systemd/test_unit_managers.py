# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from missiond.core.keepalive.service_restart import RestartedService, ServiceState
from missiond.host.systemd.unit_managers import (
    NEVER,
    OF_ONE,
    ManagersMissing,
    NotAnswered,
    UnitManagers,
    service_of,
    unit_at,
)

STATE = (
    "Type=simple\nRestart=on-failure\nRestartUSec=1min 500ms\nMainPID=42\nResult=success\n"
    "LoadState=loaded\nActiveState=active\nSubState=running\nJob=\n"
)
A = RestartedService(1000, "a.service", "x")


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("system.slice/a.service", (None, "a.service", "system.slice/a.service")),
        ("system.slice/system-a.slice/a@1.service/sub", (None, "a@1.service", None)),
        ("a.service", (None, "a.service", "a.service")),
        ("system.slice/_a.service", (None, "a.service", "system.slice/_a.service")),
        (
            "user.slice/user-1000.slice/user@1000.service/app.slice/a.service/x",
            (1000, "a.service", "user.slice/user-1000.slice/user@1000.service/app.slice/a.service"),
        ),
        ("user.slice/user-1000.slice/user@1000.service/init.scope", None),
        ("user.slice/user-1000.slice/user@1000.service", None),
        ("user.slice/user-1000.slice/user@1001.service/app.slice/a.service", None),
        ("user.slice/user-1000.slice/session-1.scope", None),
        ("system.slice/docker-1.scope/system.slice/a.service", None),
        ("machine.slice/nspawn@x.service/payload/system.slice/a.service", (None, "nspawn@x.service", None)),
        ("init.scope", None),
        ("user.slice", None),
        ("", None),
    ],
)
def test_the_service_of_a_cgroup(path: str, service: tuple[int | None, str, str | None] | None) -> None:
    found = service_of(path)
    if service is None:
        assert found is None
        return
    assert found is not None
    assert (found.manager, found.name) == service[:2]
    assert path.startswith(found.cgroup)
    if service[2] is not None:
        assert found.cgroup == service[2]


class Answers:
    """A stand-in for missiond-units: one answer for each connection, None for none at all."""

    def __init__(self, path: Path) -> None:
        self.asked: list[bytes] = []
        self.answer: bytes | None = b"ok\n" + STATE.encode()
        self.held = asyncio.Event()
        self.held.set()
        self.most = self._now = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(str(path))
        self._socket.listen()
        self._socket.setblocking(False)
        self._tasks = {asyncio.ensure_future(self._accept())}

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self._socket)
            self._tasks.add(asyncio.ensure_future(self._serve(connection)))

    async def _serve(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connection.setblocking(False)
        with connection:
            self.asked.append(await loop.sock_recv(connection, 4096))
            self._now += 1
            self.most = max(self.most, self._now)
            await self.held.wait()
            self._now -= 1
            if self.answer is not None:
                await loop.sock_sendall(connection, self.answer)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._socket.close()


@pytest.fixture
async def answers(tmp_path: Path) -> AsyncIterator[Answers]:
    served = Answers(tmp_path / "socket")
    yield served
    await served.close()


async def test_what_is_asked_and_understood(answers: Answers, tmp_path: Path) -> None:
    managers = UnitManagers(tmp_path / "socket")
    expected = ServiceState(
        "loaded", "active", "running", "success", "simple", "on-failure", 60_500, 42, job=False
    )
    assert await managers.show(A) == expected
    assert await managers.keep(RestartedService(None, "b.service", "")) == expected
    answers.answer = b"ok\n"
    await managers.unkeep(A)
    assert answers.asked == [b"show 1000 a.service", b"keep system b.service", b"unkeep 1000 a.service"]


@pytest.mark.parametrize(
    ("before", "after", "restart_ms", "job"),
    [
        ("RestartUSec=1min 500ms", "RestartUSec=infinity", NEVER, False),
        ("RestartUSec=1min 500ms", "RestartUSec=1month 4d", 2_629_800_000 + 345_600_000, False),
        ("RestartUSec=1min 500ms", "RestartUSec=1s\nRestartUSecNext=8s", 8000, False),
        ("Job=", "Job=77", 60_500, True),
    ],
)
async def test_more_of_what_it_may_say(
    answers: Answers, tmp_path: Path, before: str, after: str, restart_ms: int, job: bool
) -> None:
    answers.answer = b"ok\n" + STATE.replace(before, after).encode()
    state = await UnitManagers(tmp_path / "socket").show(A)
    assert (state.restart_ms, state.job) == (restart_ms, job)


@pytest.mark.parametrize(
    ("answer", "name", "gone"),
    [
        (b"no ENOENT", "ENOENT", True),
        (b"no ECONNREFUSED", "ECONNREFUSED", True),
        (b"no ETIMEDOUT", "ETIMEDOUT", False),
        (b"ok\n", "EBADMSG", False),
        (b"ok\n" + STATE.replace("42", "-1").encode(), "EBADMSG", False),
        (b"ok\n" + STATE.replace("42", "4194305").encode(), "EBADMSG", False),
        (b"ok\n" + STATE.replace("running", "run\x1b[31m").encode(), "EBADMSG", False),
        (b"ok\n\xff" + b"x" * 3000, "EBADMSG", False),
        (None, "ECONNRESET", False),
    ],
)
async def test_answers_that_are_none(
    answers: Answers, tmp_path: Path, answer: bytes | None, name: str, gone: bool
) -> None:
    answers.answer = answer
    with pytest.raises(NotAnswered) as caught:
        await UnitManagers(tmp_path / "socket").show(A)
    assert (str(caught.value), caught.value.gone) == (name, gone)


async def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(ManagersMissing, match="No such file"):
        await UnitManagers(tmp_path / "none").show(A)


async def test_a_manager_that_hangs_takes_little_room(answers: Answers, tmp_path: Path) -> None:
    managers = UnitManagers(tmp_path / "socket")
    answers.held.clear()
    hung = [asyncio.ensure_future(managers.show(A)) for _ in range(20)]
    other = asyncio.ensure_future(managers.show(RestartedService(None, "b.service", "")))
    while b"show system b.service" not in answers.asked:
        await asyncio.sleep(0)
    assert answers.asked.count(b"show 1000 a.service") <= OF_ONE
    answers.held.set()
    await asyncio.gather(*hung, other)
    assert answers.most <= OF_ONE + 1


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("system.slice/ssh.service", (None, "ssh.service")),
        ("system.slice/system-foo.slice", (None, "system-foo.slice")),
        ("system.slice/ssh.service/inner", None),
        ("system.slice", None),
        ("user.slice/user-1000.slice", None),
        ("user.slice/user-1000.slice/session-3.scope", (None, "session-3.scope")),
        ("user.slice/user-1000.slice/user@1000.service", (None, "user@1000.service")),
        ("user.slice/user-1000.slice/user@1000.service/app.slice", (1000, "app.slice")),
        ("user.slice/user-1000.slice/user@1000.service/app.slice/app-x-1.scope", (1000, "app-x-1.scope")),
        ("user.slice/user-1000.slice/user@1000.service/app.slice/_a.service", (1000, "a.service")),
        ("user.slice/user-1000.slice/user@1000.service/app.slice/a.scope/tab.scope", None),
        ("user.slice/user-1000.slice/user@1000.service/init.scope", None),
        ("user.slice/user-1000.slice/user@1001.service/app.slice", None),
    ],
)
def test_unit_at(path: str, unit: tuple[int | None, str] | None) -> None:
    assert unit_at(path) == unit
