# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from missiond.bus.connection import Connection
from missiond.bus.wire.message import Incoming
from missiond.host.systemd import logind as logind_module
from missiond.host.systemd.logind import (
    Inhibitor,
    LockRefused,
    LockUndecided,
    Logind,
    LogindMissing,
    OperationInProgress,
)
from standins.clients.heard import Heard
from standins.open_files import open_files
from standins.services import logind as standin_module
from standins.services.logind import LogindStandIn, running_logind

LOCK = ("sleep:idle", "Backup (org.example.Backup)", "for user 1000: copying")


@pytest.fixture
async def standin(system_bus: str) -> AsyncIterator[LogindStandIn]:
    async with running_logind(system_bus) as running:
        yield running


@pytest.fixture
async def logind(connection: Connection) -> AsyncIterator[Logind]:
    made = Logind(connection)
    await made.start()
    yield made
    made.close()


async def test_lock_stands_until_its_fd_is_closed(standin: LogindStandIn, logind: Logind) -> None:
    before = open_files()
    fd = await logind.inhibit(*LOCK)
    assert not os.get_inheritable(fd)
    assert standin.called("Inhibit") == [[*LOCK, "block"]]
    (lock,) = standin.held
    assert (lock.uid, lock.pid) == (os.getuid(), os.getpid())
    os.close(fd)
    await lock.until_released()
    assert standin.held == []
    standin.close()
    assert open_files() == before


async def test_mode(standin: LogindStandIn, logind: Logind) -> None:
    os.close(await logind.inhibit("shutdown", "w", "y", "delay"))
    assert standin.called("Inhibit") == [["shutdown", "w", "y", "delay"]]


async def test_lists_locks(standin: LogindStandIn, logind: Logind) -> None:
    assert await logind.inhibitors() == []
    first = await logind.inhibit(*LOCK)
    second = await logind.inhibit("sleep", "ünïcode", "")
    expected = Inhibitor(*LOCK, "block", os.getuid(), os.getpid())
    assert await logind.inhibitors() == [
        expected,
        Inhibitor("sleep", "ünïcode", "", "block", os.getuid(), os.getpid()),
    ]
    os.close(second)
    await standin.locks[1].until_released()
    assert await logind.inhibitors() == [expected]
    os.close(first)


async def test_many_locks_at_once(standin: LogindStandIn, logind: Logind) -> None:
    before = open_files()
    fds = await asyncio.gather(*(logind.inhibit("sleep", f"app {number}", "") for number in range(100)))
    assert len(set(fds)) == 100
    assert sorted(lock.who for lock in standin.held) == sorted(f"app {number}" for number in range(100))
    for fd in fds:
        os.close(fd)
    await asyncio.gather(*(lock.until_released() for lock in standin.locks))
    standin.close()
    assert open_files() == before


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("org.freedesktop.login1.OperationInProgress", OperationInProgress),
        ("org.freedesktop.DBus.Error.AccessDenied", LockRefused),
        ("org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", LockRefused),
        ("org.freedesktop.DBus.Error.LimitsExceeded", LockRefused),
        ("org.freedesktop.DBus.Error.InvalidArgs", LockRefused),
        ("org.freedesktop.DBus.Error.UnknownMethod", LogindMissing),
        # what logind itself says is about those that it asks: the bus, polkit, the service manager
        ("org.freedesktop.DBus.Error.ServiceUnknown", LockRefused),
        ("org.freedesktop.DBus.Error.NameHasNoOwner", LockRefused),
        ("org.freedesktop.DBus.Error.Spawn.ChildExited", LockRefused),
        ("org.freedesktop.DBus.Error.NoReply", LockUndecided),
        ("org.freedesktop.DBus.Error.Timeout", LockUndecided),
        ("org.freedesktop.systemd1.NoSuchUnit", LockRefused),
    ],
)
async def test_errors(standin: LogindStandIn, logind: Logind, error: str, expected: type[Exception]) -> None:
    standin.failures = {"Inhibit": (error, "because"), "ListInhibitors": (error, "because")}
    with pytest.raises(expected, match="because"):
        await logind.inhibit(*LOCK)
    with pytest.raises(expected, match="because"):
        await logind.inhibitors()
    assert logind.available is (expected is not LogindMissing)
    standin.failures = {}
    os.close(await logind.inhibit(*LOCK))
    assert logind.available


async def test_refusal_of_one_what(standin: LogindStandIn, logind: Logind) -> None:
    standin.refused = {"handle-lid-switch"}
    with pytest.raises(LockRefused, match="Permission denied"):
        await logind.inhibit("sleep:handle-lid-switch", "a", "b")
    os.close(await logind.inhibit("sleep", "a", "b"))


async def test_no_logind(logind: Logind) -> None:
    assert not logind.available
    with pytest.raises(LogindMissing, match="ServiceUnknown"):
        await logind.inhibit(*LOCK)
    with pytest.raises(LogindMissing):
        await logind.inhibitors()


async def test_logind_comes_and_goes(standin: LogindStandIn, logind: Logind) -> None:
    heard = Heard[bool]()
    logind.on_available(heard)
    fd = await logind.inhibit(*LOCK)
    await standin.vanish()
    await heard.until(False)
    with pytest.raises(LogindMissing):
        await logind.inhibit(*LOCK)
    await standin.appear()
    await heard.until(False, True)
    assert [lock.who for lock in standin.held] == [LOCK[1]]
    os.close(fd)


async def test_logind_that_dies_with_a_call_under_way(standin: LogindStandIn, logind: Logind) -> None:
    standin.hanging = {"Inhibit"}
    call = asyncio.ensure_future(logind.inhibit(*LOCK))
    await standin.until_called("Inhibit")
    await standin.vanish()
    with pytest.raises(LogindMissing, match="NoReply"):
        await call
    assert not logind.available


async def test_slow_logind_is_waited_for(standin: LogindStandIn, logind: Logind) -> None:
    standin.hanging = {"Inhibit"}
    call = asyncio.ensure_future(logind.inhibit(*LOCK))
    await standin.until_called("Inhibit")
    assert await logind.inhibitors() == []
    assert not call.done()
    standin.answer_held()
    os.close(await call)


async def test_logind_that_hangs(
    standin: LogindStandIn, logind: Logind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logind_module, "PATIENCE", 0.05)
    standin.hanging = {"ListInhibitors"}
    heard = Heard[bool]()
    logind.on_available(heard)
    with pytest.raises(LogindMissing, match="no reply"):
        await logind.inhibitors()
    assert heard.words == [False]
    standin.answer_held()
    os.close(await logind.inhibit(*LOCK))
    assert heard.words == [False, True]


async def test_caller_that_no_longer_waits_leaves_no_lock(standin: LogindStandIn, logind: Logind) -> None:
    before = open_files()
    standin.hanging = {"Inhibit"}
    call = asyncio.ensure_future(logind.inhibit(*LOCK))
    await standin.until_called("Inhibit")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    standin.answer_held()
    while not standin.locks:
        await standin.connection.call_bus("GetId")
    await standin.locks[0].until_released()
    standin.close()
    assert open_files() == before


@pytest.mark.parametrize(("signature", "body"), [("", ()), ("s", ("lock",)), ("u", (0,))])
async def test_answer_without_a_lock(
    standin: LogindStandIn,
    logind: Logind,
    monkeypatch: pytest.MonkeyPatch,
    signature: str,
    body: tuple[object],
) -> None:
    async def nonsense(_self: LogindStandIn, call: Incoming, *_: object) -> None:
        standin.connection.reply(call, signature, body)

    monkeypatch.setattr(LogindStandIn, "inhibit", nonsense)
    monkeypatch.setattr(LogindStandIn, "list_inhibitors", nonsense)
    before = open_files()
    with pytest.raises(LockRefused):
        await logind.inhibit(*LOCK)
    with pytest.raises(LockRefused):
        await logind.inhibitors()
    assert open_files() == before


async def test_sleep(standin: LogindStandIn, logind: Logind) -> None:
    heard = Heard[bool]()
    logind.on_sleep(heard)
    standin.prepare_for_sleep(True)
    await heard.until(True)
    with pytest.raises(OperationInProgress):
        await logind.inhibit(*LOCK)
    standin.prepare_for_sleep(False)
    await heard.until(True, False)
    os.close(await logind.inhibit(*LOCK))


async def test_sleep_after_a_restart_of_logind(standin: LogindStandIn, logind: Logind) -> None:
    heard, there = Heard[bool](), Heard[bool]()
    logind.on_sleep(heard)
    logind.on_available(there)
    await standin.vanish()
    await standin.appear()
    await there.until(False, True)
    standin.prepare_for_sleep(True)
    await heard.until(True)


async def test_sleep_is_believed_of_logind_alone(
    system_bus: str, connection: Connection, standin: LogindStandIn, logind: Logind
) -> None:
    heard = Heard[bool]()
    logind.on_sleep(heard)
    impostor = await Connection.open(system_bus)
    impostor.emit(
        "/org/freedesktop/login1",
        "org.freedesktop.login1.Manager",
        "PrepareForSleep",
        "b",
        (True,),
        destination=connection.unique_name,
    )
    await impostor.call_bus("GetId")
    await impostor.close()
    standin.prepare_for_sleep(False)
    await heard.until(False)


async def test_failing_listener_hinders_nobody(
    standin: LogindStandIn, logind: Logind, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard[bool]()
    logind.on_sleep(lambda _: 1 / 0)  # type: ignore[arg-type]
    logind.on_sleep(heard)
    standin.prepare_for_sleep(True)
    await heard.until(True)
    assert "ZeroDivisionError" in caplog.text


async def test_closed_hears_nothing(standin: LogindStandIn, logind: Logind) -> None:
    heard = Heard[bool]()
    logind.on_sleep(heard)
    logind.on_available(heard)
    logind.close()
    logind.close()
    standin.prepare_for_sleep(True)
    await logind.inhibitors()
    assert heard.words == []


async def test_lost_connection(connection: Connection) -> None:
    logind = Logind(connection)
    await connection.close()
    await logind.start()
    assert not logind.available
    with pytest.raises(LogindMissing):
        await logind.inhibit(*LOCK)


async def test_logind_that_the_bus_starts(
    starting_bus: Callable[[str, str], AbstractContextManager[str]],
) -> None:
    program = f"{sys.executable} {Path(standin_module.__file__)}"
    with starting_bus("org.freedesktop.login1", program) as address:
        connection = await Connection.open(address, fds=True)
        logind = Logind(connection)
        await logind.start()
        assert logind.available
        fd = await logind.inhibit(*LOCK)
        assert [inhibitor.who for inhibitor in await logind.inhibitors()] == [LOCK[1]]
        os.close(fd)
        await connection.close()


async def test_logind_that_can_not_be_started(
    starting_bus: Callable[[str, str], AbstractContextManager[str]],
) -> None:
    with starting_bus("org.freedesktop.login1", "/bin/false") as address:
        connection = await Connection.open(address, fds=True)
        logind = Logind(connection)
        heard = Heard[bool]()
        logind.on_available(heard)
        await logind.start()
        assert logind.available
        assert logind.start_failure == ""
        with pytest.raises(LogindMissing, match="Spawn"):
            await logind.inhibit(*LOCK)
        assert logind.start_failure
        assert heard.words == [False]
        await connection.close()
