# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from missiond.bus.connection import Connection, RemoteError
from missiond.host.followed_service import FollowedService, is_missing
from standins.clients.heard import Heard
from standins.services.logind import LogindStandIn, running_logind

NAME = "org.freedesktop.login1"


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("org.freedesktop.DBus.Error.ServiceUnknown", True),
        ("org.freedesktop.DBus.Error.NameHasNoOwner", True),
        ("org.freedesktop.DBus.Error.Spawn.ChildExited", True),
        ("org.freedesktop.DBus.Error.Spawn.ExecFailed", True),
        ("org.freedesktop.DBus.Error.Disconnected", True),
        ("org.freedesktop.DBus.Error.TimedOut", True),
        ("org.freedesktop.DBus.Error.UnknownMethod", True),
        ("org.freedesktop.systemd1.UnitMasked", True),
        ("org.freedesktop.DBus.Error.AccessDenied", False),
        ("org.freedesktop.DBus.Error.NoReply", False),
        ("org.freedesktop.login1.OperationInProgress", False),
        ("org.freedesktop.PolicyKit1.Error.Failed", False),
        ("", False),
    ],
)
def test_which_errors_mean_missing(name: str, missing: bool) -> None:
    assert is_missing(RemoteError(name)) is missing


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("org.freedesktop.DBus.Error.NameHasNoOwner", False),
        ("org.freedesktop.DBus.Error.ServiceUnknown", False),
        ("org.freedesktop.DBus.Error.TimedOut", False),
        ("org.freedesktop.systemd1.UnitMasked", False),
        ("org.freedesktop.DBus.Error.UnknownMethod", True),
        ("org.freedesktop.DBus.Error.UnknownObject", True),
    ],
)
def test_which_errors_of_a_service_mean_that_it_is_missing(name: str, missing: bool) -> None:
    assert is_missing(RemoteError(name, by_service=True)) is missing


async def test_comes_and_goes(system_bus: str, connection: Connection) -> None:
    presence = FollowedService(connection, NAME)
    heard = Heard[bool]()
    presence.on_available(heard)
    await presence.start()
    assert not presence.available
    async with running_logind(system_bus) as logind:
        await heard.until(True)
        assert presence.available
        await logind.vanish()
        await heard.until(True, False)
        assert not presence.available
        await logind.appear()
        await heard.until(True, False, True)
    await heard.until(True, False, True, False)


async def test_there_already(system_bus: str, connection: Connection) -> None:
    async with running_logind(system_bus):
        presence = FollowedService(connection, NAME)
        heard = Heard[bool]()
        presence.on_available(heard)
        await presence.start()
        assert presence.available
        assert heard.words == []


async def test_calls_say_more_than_names(system_bus: str, connection: Connection) -> None:
    async with running_logind(system_bus) as logind:
        presence = FollowedService(connection, NAME)
        heard = Heard[bool]()
        presence.on_available(heard)
        await presence.start()
        presence.answered()
        presence.missed()
        presence.missed()
        assert not presence.available
        presence.answered()
        presence.answered()
        assert heard.words == [False, True]
        presence.missed()
        await logind.vanish()
        await logind.appear()
        await heard.until(False, True, False, True)


async def test_failing_listener_hinders_nobody(
    system_bus: str, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    presence = FollowedService(connection, NAME)
    heard = Heard[bool]()
    presence.on_available(lambda _: 1 / 0)  # type: ignore[arg-type]
    presence.on_available(heard)
    await presence.start()
    async with running_logind(system_bus):
        await heard.until(True)
    assert "ZeroDivisionError" in caplog.text


async def test_closed_hears_nothing(system_bus: str, connection: Connection) -> None:
    presence = FollowedService(connection, NAME)
    heard = Heard[bool]()
    presence.on_available(heard)
    await presence.start()
    presence.close()
    presence.close()
    async with running_logind(system_bus):
        await connection.call_bus("GetId")
    assert heard.words == []


async def test_can_be_started(starting_bus: Callable[[str, str], AbstractContextManager[str]]) -> None:
    with starting_bus(NAME, "/bin/false") as address:
        connection = await Connection.open(address)
        presence = FollowedService(connection, NAME)
        heard = Heard[bool]()
        presence.on_available(heard)
        await presence.start()
        assert presence.available
        logind = LogindStandIn(address)
        await logind.appear()
        await heard.until(True)
        await logind.vanish()
        await connection.call_bus("GetId")
        assert presence.available, "the bus would start it again"
        await connection.close()


async def test_lost_connection_is_survived(connection: Connection) -> None:
    presence = FollowedService(connection, NAME)
    await connection.close()
    await presence.start()
    assert not presence.available
