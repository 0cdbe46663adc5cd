# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager

import pytest

from missiond.bus.connection import Connection
from missiond.errors import SystemServiceFailed, TransactionFailed
from missiond.host import polkit as polkit_module
from missiond.host.polkit import MAX_EACH, Polkit, PolkitMissing
from standins.clients.heard import Heard
from standins.services.polkit import Check, PolkitStandIn, running_polkit

ACTION = "org.missiond.Agent1.keep-background-running"
OTHER = "org.missiond.Agent1.manage-others"


@pytest.fixture
async def standin(system_bus: str) -> AsyncIterator[PolkitStandIn]:
    async with running_polkit(system_bus) as running:
        running.allowed = {ACTION}
        yield running


@pytest.fixture
async def polkit(connection: Connection) -> AsyncIterator[Polkit]:
    made = Polkit(connection)
    await made.start()
    yield made
    made.close()


@pytest.fixture
async def client(system_bus: str) -> AsyncIterator[Connection]:
    opened = await Connection.open(system_bus)
    yield opened
    await opened.close()


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polkit_module, "PATIENCE", 0.05)


def _pending(polkit: Polkit) -> int:
    return len(polkit._calls)


async def test_asks_about_the_bus_name(standin: PolkitStandIn, polkit: Polkit, client: Connection) -> None:
    assert polkit.available
    assert await polkit.check(ACTION, client.unique_name, interactive=True)
    assert not await polkit.check(OTHER, client.unique_name, interactive=True)
    first, second = standin.checks
    subject = {"name": client.unique_name}
    assert first == Check("system-bus-name", subject, ACTION, 0, first.cancellation_id)
    assert second == Check("system-bus-name", subject, OTHER, 0, second.cancellation_id)
    assert first.cancellation_id != second.cancellation_id
    assert standin.called("CancelCheckAuthorization") == []
    assert _pending(polkit) == 0


async def test_challenge_is_a_no_where_nobody_may_be_asked(
    standin: PolkitStandIn, polkit: Polkit, client: Connection
) -> None:
    standin.challenged = {OTHER}
    assert not await polkit.check(OTHER, client.unique_name, interactive=False)


@pytest.mark.parametrize("allowed", [True, False])
async def test_somebody_is_asked(
    standin: PolkitStandIn, polkit: Polkit, client: Connection, allowed: bool
) -> None:
    standin.challenged = {OTHER}
    check = asyncio.ensure_future(polkit.check(OTHER, client.unique_name, interactive=True))
    await _asked(standin, client, 1)
    assert [(each.action, each.flags) for each in standin.checks] == [(OTHER, 0), (OTHER, 1)]
    # Others are not held up.
    assert await polkit.check(ACTION, client.unique_name, interactive=False)
    assert not check.done()
    standin.decide(allowed=allowed)
    assert await check is allowed


@pytest.mark.usefixtures("_impatient")
async def test_no_answer_in_time_denies_nothing(
    standin: PolkitStandIn, polkit: Polkit, client: Connection
) -> None:
    standin.hanging = {"CheckAuthorization"}
    with pytest.raises(SystemServiceFailed, match="9800004: polkit does not answer"):
        await polkit.check(ACTION, client.unique_name, interactive=False)
    await standin.until_called("CancelCheckAuthorization")
    [[*_, cancellation_id]] = standin.called("CheckAuthorization")
    assert standin.called("CancelCheckAuthorization") == [[cancellation_id]]
    standin.answer_held()
    assert await polkit.check(ACTION, client.unique_name, interactive=False)
    assert _pending(polkit) == 0


async def test_password_has_more_time(
    standin: PolkitStandIn, polkit: Polkit, client: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert polkit_module.USER_PATIENCE == 300
    standin.challenged = {OTHER}
    check = asyncio.ensure_future(polkit.check(OTHER, client.unique_name, interactive=True))
    await _asked(standin, client, 1)
    monkeypatch.setattr(polkit_module, "USER_PATIENCE", 0.05)
    assert not await polkit.check(OTHER, client.unique_name, interactive=True)
    assert not check.done()
    await standin.until_called("CancelCheckAuthorization")
    standin.decide(allowed=True)
    assert await check


async def _asked(standin: PolkitStandIn, client: Connection, count: int) -> None:
    """Wait until so many people are asked for a password."""
    while len(standin.asking) != count:
        await client.call_bus("GetId")


async def test_caller_that_leaves_cancels_its_checks(
    standin: PolkitStandIn, polkit: Polkit, client: Connection, system_bus: str
) -> None:
    standin.challenged = {OTHER}
    leaver = await Connection.open(system_bus)
    checks = [
        asyncio.ensure_future(polkit.check(OTHER, name, interactive=True))
        for name in (leaver.unique_name, leaver.unique_name, client.unique_name)
    ]
    await _asked(standin, client, 3)
    await leaver.close()
    assert await asyncio.gather(*checks[:2]) == [False, False]
    await standin.until_called("CancelCheckAuthorization", 2)
    await _asked(standin, client, 1)
    assert not checks[2].done()
    standin.decide(allowed=True)
    assert await checks[2]
    assert _pending(polkit) == 0


async def test_cancelled_call_cancels_the_check(
    standin: PolkitStandIn, polkit: Polkit, client: Connection
) -> None:
    standin.hanging = {"CheckAuthorization"}
    check = asyncio.ensure_future(polkit.check(ACTION, client.unique_name, interactive=False))
    await standin.until_called("CheckAuthorization")
    check.cancel()
    with pytest.raises(asyncio.CancelledError):
        await check
    await standin.until_called("CancelCheckAuthorization")
    assert _pending(polkit) == 0


async def test_a_person_has_so_many_checks_at_a_time(
    standin: PolkitStandIn,
    polkit: Polkit,
    client: Connection,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(polkit_module, "MAX_WAITING", 2 * MAX_EACH)
    monkeypatch.setattr(polkit._calls, "_each", 2 * MAX_EACH)
    standin.hanging = {"CheckAuthorization"}
    checks = [
        asyncio.ensure_future(polkit.check(ACTION, client.unique_name, interactive=False, person=1))
        for _ in range(2 * MAX_EACH)
    ]
    await standin.until_called("CheckAuthorization", MAX_EACH)
    with pytest.raises(
        TransactionFailed, match="9800003: 16 calls of this user wait for polkit; let one end"
    ):
        await polkit.check(ACTION, connection.unique_name, interactive=False, person=1)
    other = asyncio.ensure_future(polkit.check(ACTION, client.unique_name, interactive=False, person=2))
    await standin.until_called("CheckAuthorization", MAX_EACH + 1)
    assert len(standin.called("CheckAuthorization")) == MAX_EACH + 1
    standin.answer_held()
    standin.hanging.clear()
    assert await asyncio.gather(*checks, other) == [True] * (2 * MAX_EACH + 1)
    assert await polkit.check(ACTION, client.unique_name, interactive=False, person=1)


@pytest.mark.usefixtures("_impatient")
async def test_who_waits_for_a_turn_is_told_as_well(
    standin: PolkitStandIn, polkit: Polkit, client: Connection
) -> None:
    standin.hanging = {"CheckAuthorization"}
    checks = [
        polkit.check(ACTION, client.unique_name, interactive=False, person=1) for _ in range(3 * MAX_EACH)
    ]
    answers = await asyncio.gather(*checks, return_exceptions=True)
    assert {type(answer) for answer in answers} == {SystemServiceFailed}
    assert _pending(polkit) == 0


async def test_who_leaves_while_others_are_asked_is_asked_nothing(
    standin: PolkitStandIn, polkit: Polkit, client: Connection, system_bus: str
) -> None:
    standin.challenged = {OTHER}
    asked = [
        asyncio.ensure_future(polkit.check(OTHER, client.unique_name, interactive=True, person=1))
        for _ in range(MAX_EACH)
    ]
    await _asked(standin, client, MAX_EACH)
    leaver = await Connection.open(system_bus)
    leaving = asyncio.ensure_future(polkit.check(OTHER, leaver.unique_name, interactive=True, person=1))
    await standin.until_called("CheckAuthorization", 2 * MAX_EACH + 1)
    await leaver.close()
    assert not await leaving
    standin.decide(allowed=True)
    assert await asyncio.gather(*asked) == [True] * MAX_EACH
    assert standin.asking == []


@pytest.fixture
async def few(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Polkit]:
    """One that asks four people at a time, none of them more than three times, and others two at a time."""
    for name, number in (("MAX_ASKING", 4), ("MAX_EACH", 3), ("MAX_AT_ONCE", 2)):
        monkeypatch.setattr(polkit_module, name, number)
    made = Polkit(connection)
    await made.start()
    yield made
    made.close()


async def test_people_who_never_answer_leave_room_for_others(
    standin: PolkitStandIn, few: Polkit, client: Connection
) -> None:
    standin.challenged = {"ask"}

    async def ask(person: int) -> bool:
        return await few.check("ask", client.unique_name, interactive=True, person=person)

    asked = [asyncio.ensure_future(ask(1)) for _ in range(4)]
    await _asked(standin, client, 3)
    asked.append(asyncio.ensure_future(ask(2)))
    await _asked(standin, client, 4)
    third = asyncio.ensure_future(ask(3))
    # the latest of the person with most is asked again later
    await standin.until_called("CancelCheckAuthorization")
    await _asked(standin, client, 4)
    asked.append(asyncio.ensure_future(ask(2)))
    # who is not asked, also where the call allows that, waits for none of them
    for interactive in (False, True):
        assert await few.check(ACTION, client.unique_name, interactive=interactive, person=2)
    assert not any(each.done() for each in (third, *asked))
    standin.decide(allowed=True)
    assert await third
    await _asked(standin, client, 3)
    standin.decide(allowed=True)
    assert await asyncio.gather(*asked) == [True] * 6
    again = asyncio.ensure_future(ask(1))
    await _asked(standin, client, 1)
    standin.decide(allowed=True)
    assert await again


async def test_a_crowd_is_asked_in_turns(standin: PolkitStandIn, few: Polkit, client: Connection) -> None:
    checks = [
        few.check(ACTION, client.unique_name, interactive=False, person=number % 50) for number in range(200)
    ]
    assert await asyncio.gather(*checks) == [True] * 200


@pytest.mark.parametrize(
    "error",
    [
        "org.freedesktop.PolicyKit1.Error.Failed",
        "org.freedesktop.PolicyKit1.Error.NotAuthorized",
        "org.freedesktop.PolicyKit1.Error.Cancelled",
        "org.freedesktop.DBus.Error.AccessDenied",
        # of the caller, which has left: polkit asks the bus whose it is, and passes on what that says
        "org.freedesktop.DBus.Error.NameHasNoOwner",
    ],
)
async def test_failure_is_a_no_and_is_said_once(
    standin: PolkitStandIn, polkit: Polkit, client: Connection, caplog: pytest.LogCaptureFixture, error: str
) -> None:
    standin.failures = {"CheckAuthorization": (error, "Action is not registered")}
    heard = Heard[bool]()
    polkit.on_available(heard)
    for _ in range(3):
        assert not await polkit.check(ACTION, client.unique_name, interactive=False)
    assert len(caplog.records) == 1
    assert polkit.available
    assert heard.words == []


@pytest.mark.parametrize("error", ["LimitsExceeded", "NoReply", "NoMemory", "Timeout", "TimedOut"])
async def test_trouble_of_the_bus_denies_nothing(
    standin: PolkitStandIn, polkit: Polkit, client: Connection, error: str
) -> None:
    standin.failures = {"CheckAuthorization": (f"org.freedesktop.DBus.Error.{error}", "too much")}
    with pytest.raises(SystemServiceFailed, match=f"9800004: polkit can't be asked now .{error}.; try again"):
        await polkit.check(ACTION, client.unique_name, interactive=False)
    assert polkit.available
    standin.failures = {}
    assert await polkit.check(ACTION, client.unique_name, interactive=False)


@pytest.mark.parametrize(
    ("signature", "body"),
    [("", ()), ("s", ("yes",)), ("u", (1,)), ("b", (True,)), ("(ubs)", ((1, True, "x"),)), ("()", ((),))],
)
async def test_odd_answer_is_a_no(
    standin: PolkitStandIn,
    polkit: Polkit,
    client: Connection,
    monkeypatch: pytest.MonkeyPatch,
    signature: str,
    body: tuple[object, ...],
) -> None:
    async def odd(_self: PolkitStandIn, call: object, *_: object) -> None:
        standin.connection.reply(call, signature, body)  # type: ignore[arg-type]

    if signature == "()":
        signature, body = "a(bba{ss})", ([],)
    monkeypatch.setattr(PolkitStandIn, "check_authorization", odd)
    assert not await polkit.check(ACTION, client.unique_name, interactive=False)


async def test_no_polkit(polkit: Polkit, client: Connection) -> None:
    assert not polkit.available
    with pytest.raises(PolkitMissing, match="ServiceUnknown"):
        await polkit.check(ACTION, client.unique_name, interactive=True)
    assert _pending(polkit) == 0


async def test_polkit_that_can_not_be_started(
    starting_bus: Callable[[str, str], AbstractContextManager[str]],
) -> None:
    with starting_bus("org.freedesktop.PolicyKit1", "/bin/false") as address:
        connection = await Connection.open(address)
        polkit = Polkit(connection)
        heard = Heard[bool]()
        polkit.on_available(heard)
        await polkit.start()
        assert polkit.available
        with pytest.raises(PolkitMissing, match="Spawn"):
            await polkit.check(ACTION, connection.unique_name, interactive=False)
        assert heard.words == [False]
        await connection.close()


async def test_polkit_comes_and_goes(standin: PolkitStandIn, polkit: Polkit, client: Connection) -> None:
    heard = Heard[bool]()
    polkit.on_available(heard)
    standin.hanging = {"CheckAuthorization"}
    check = asyncio.ensure_future(polkit.check(ACTION, client.unique_name, interactive=False))
    await standin.until_called("CheckAuthorization")
    await standin.vanish()
    with pytest.raises(SystemServiceFailed, match="NoReply"):
        await check
    await heard.until(False)
    with pytest.raises(PolkitMissing):
        await polkit.check(ACTION, client.unique_name, interactive=False)
    standin.hanging = set()
    await standin.appear()
    await heard.until(False, True)
    assert await polkit.check(ACTION, client.unique_name, interactive=False)


async def test_lost_connection(connection: Connection) -> None:
    polkit = Polkit(connection)
    name = connection.unique_name
    await connection.close()
    await polkit.start()
    with pytest.raises(PolkitMissing):
        await polkit.check(ACTION, name, interactive=False)


async def test_connection_lost_while_somebody_is_asked(
    standin: PolkitStandIn, polkit: Polkit, connection: Connection, client: Connection
) -> None:
    standin.hanging = {"CheckAuthorization"}
    check = asyncio.ensure_future(polkit.check(ACTION, client.unique_name, interactive=True))
    await standin.until_called("CheckAuthorization")
    await connection.close()
    with pytest.raises(PolkitMissing):
        await check
