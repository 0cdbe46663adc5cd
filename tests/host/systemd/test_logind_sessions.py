# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from missiond.bus.connection import Connection
from missiond.bus.variants import variant
from missiond.bus.wire.message import Incoming
from missiond.host.systemd.logind_sessions import Logins, LoginSession, LoginsUnknown

NAME = "org.freedesktop.login1"
SYSTEMD = "org.freedesktop.systemd1"
SCOPE = "/org/freedesktop/systemd1/unit/session_2d7_2escope"
USER, SESSION = "/org/freedesktop/login1/user/_1000", "/org/freedesktop/login1/session/_37"


class Logind:
    """What is asked about logins, and nothing else."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.manager: dict[str, Any] = {
            "KillUserProcesses": variant("b", True),
            "KillOnlyUsers": variant("as", []),
            "KillExcludeUsers": variant("as", []),
        }
        self.state = "active"
        self.scope: dict[str, Any] = {
            "MemoryMax": variant("t", 2**64 - 1),
            "RuntimeMaxUSec": variant("t", 2**64 - 1),
        }
        connection.set_call_handler(self._on_call)

    def set(self, name: str, *users: str) -> None:
        self.manager[name] = variant("as", list(users))

    def _on_call(self, call: Incoming) -> None:
        wanted = call.body[0]
        if call.member == "GetAll":
            found = {
                f"{NAME}.Manager": self.manager,
                f"{NAME}.User": {"Name": variant("s", "alice"), "Linger": variant("b", True)},
                f"{SYSTEMD}.Scope": self.scope if call.path == SCOPE else {},
                f"{NAME}.Session": {"Leader": variant("u", 9), "State": variant("s", self.state)},
            }
            self._connection.reply(call, "a{sv}", (found[wanted],))
        elif wanted in ("7", 1000):
            self._connection.reply(call, "o", (SESSION if wanted == "7" else USER,))
        else:
            self._connection.reply_error(call, f"{NAME}.NoSuch{(call.member or '')[3:]}", "none")


@pytest.fixture
async def connection(system_bus: str) -> AsyncIterator[Connection]:
    opened = await Connection.open(system_bus)
    yield opened
    await opened.close()


@pytest.fixture
async def logind(system_bus: str) -> AsyncIterator[Logind]:
    connection = await Connection.open(system_bus)
    stand_in = Logind(connection)
    for name in (NAME, SYSTEMD):
        await connection.call_bus("RequestName", "su", (name, 4))
    yield stand_in
    await connection.close()


@pytest.mark.parametrize(
    ("kill", "only", "exclude", "killed"),
    [
        (True, [], [], True),
        (False, [], [], False),
        (True, ["bob"], [], False),
        (False, ["alice"], [], True),
        (True, [], ["alice"], False),
        (True, ["alice"], ["alice"], False),
    ],
)
async def test_who_is_killed(
    connection: Connection, logind: Logind, kill: bool, only: list[str], exclude: list[str], killed: bool
) -> None:
    logind.manager["KillUserProcesses"] = variant("b", kill)
    logind.set("KillOnlyUsers", *only)
    logind.set("KillExcludeUsers", *exclude)
    assert await Logins(connection).kills(1000) is killed


async def test_users_and_sessions(connection: Connection, logind: Logind) -> None:
    logins = Logins(connection)
    assert await logins.lingers(1000)
    assert not await logins.lingers(1001)
    assert await logins.session("7") == LoginSession(leader=9, closing=False)
    logind.state = "closing"
    assert await logins.session("7") == LoginSession(leader=9, closing=True)
    assert await logins.session("8") is None


@pytest.mark.parametrize(
    "name", ["RuntimeMaxUSec", "MemoryMax", "MemoryHigh", "TasksMax", "CPUQuotaPerSecUSec"]
)
async def test_limits_of_a_session(connection: Connection, logind: Logind, name: str) -> None:
    assert not await Logins(connection).is_limited("session-7.scope")
    logind.scope[name] = variant("t", 7)
    assert await Logins(connection).is_limited("session-7.scope")
    assert not await Logins(connection).is_limited("session-8.scope")


async def test_nobody_to_ask(connection: Connection) -> None:
    with pytest.raises(LoginsUnknown):
        await Logins(connection).kills(1000)
