# SPDX-License-Identifier: Apache-2.0
"""Methods of ours: results, errors, senders, and an answer in every case."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from typing import Any

import pytest

from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.bus.library import Variant
from missiond.bus.variants import unwrap
from missiond.bus.wire import message as wire
from standins.clients.raw_client import RawClient, raw_client
from standins.programs.sample_service import NAME, PATH, SAMPLE, Service, running_service

ERROR = "org.missiond.Agent1.Error."


async def test_results_of_every_shape(service: Service, client: Connection) -> None:
    assert await client.call(NAME, PATH, SAMPLE, "Echo", "s", ["naïve €"]) == ["naïve €"]
    assert await client.call(NAME, PATH, SAMPLE, "Silent") == []
    options = {"x": Variant("as", ["ü"])}
    body = await client.call(NAME, PATH, SAMPLE, "Swap", "a{sv}a(us)", [options, [(1, "a"), (2, "b")]])
    assert unwrap(body) == [[[2, "b"], [1, "a"]], {"x": ["ü"]}]
    assert service.sample.silent_calls == 1


async def test_sender_is_known_in_interleaved_async_methods(system_bus: str, service: Service) -> None:
    async with raw_client(system_bus) as one, raw_client(system_bus) as two:
        for tag in "abc":
            await one.send(one.frame(PATH, SAMPLE, "Hold", "s", [tag]))
            await two.send(two.frame(PATH, SAMPLE, "Hold", "s", [tag]))
        await one.ask(one.frame(PATH, SAMPLE, "Echo", "s", ["all are in"]))
        await two.ask(two.frame(PATH, SAMPLE, "Echo", "s", ["all are in"]))
        assert service.sample.holding == 6
        service.sample.release.set()
        assert [answer.body[0] for answer in await one.answers(3)] == [f"{tag} {one.name}" for tag in "abc"]
        assert [answer.body[0] for answer in await two.answers(3)] == [f"{tag} {two.name}" for tag in "abc"]


async def test_caller_is_this_process(service: Service, client: Connection) -> None:
    for _ in range(2):
        assert await client.call(NAME, PATH, SAMPLE, "Who") == [os.getpid(), os.getuid()]
    assert len(service.server.callers) == 1


@pytest.mark.parametrize("member", ["Break", "BreakLater"])
async def test_agent_error_as_it_is(service: Service, client: Connection, member: str) -> None:
    with pytest.raises(RemoteError) as caught:
        await client.call(NAME, PATH, SAMPLE, member, "s", ["agent-error"])
    assert caught.value.name == f"{ERROR}CallerVerificationFailed"
    assert caught.value.text == "9900001: no such request"
    assert service.connection.connected


@pytest.mark.parametrize("member", ["Break", "BreakLater"])
@pytest.mark.parametrize("how", ["bug", "wrong-result"])
async def test_no_traceback_text_to_callers(
    service: Service, client: Connection, member: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RemoteError) as caught:
        await client.call(NAME, PATH, SAMPLE, member, "s", [how])
    assert caught.value.name == f"{ERROR}SystemServiceFailed"
    found = re.fullmatch(r"9800004: internal error, log id ([0-9a-f]{8}); see journalctl", caught.value.text)
    assert found is not None
    assert found[1] in caplog.text
    assert "Traceback" in caplog.text
    assert service.connection.connected


@pytest.mark.parametrize("member", ["Break", "BreakLater"])
@pytest.mark.parametrize("how", ["no-memory", "no-memory-lost"])
async def test_no_memory(service: Service, client: Connection, member: str, how: str) -> None:
    with pytest.raises(RemoteError) as caught:
        await client.call(NAME, PATH, SAMPLE, member, "s", [how])
    assert caught.value.name == f"{ERROR}MemoryFailed"
    assert caught.value.text.startswith("9800001: ")
    assert service.connection.connected


async def test_log_flood_by_a_client_is_bounded(
    service: Service, client: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    calls: list[tuple[str, str, str, list[Any]]] = [
        (SAMPLE, "Break", "s", ["bug"]),
        (SAMPLE, "Nothing", "", []),
        ("no.such.Interface", "Nothing", "", []),
        (SAMPLE, "Echo", "u", [1]),
        ("org.freedesktop.DBus.Properties", "Get", "ss", [SAMPLE, "Nothing"]),
        ("org.freedesktop.DBus.Properties", "Set", "ssv", [SAMPLE, "Good", Variant("s", "x")]),
        ("org.freedesktop.DBus.Properties", "Set", "ssv", [SAMPLE, "Nothing", Variant("s", "x")]),
        ("org.freedesktop.DBus.Properties", "GetAll", "u", [1]),
        ("org.freedesktop.DBus.ObjectManager", "GetManagedObjects", "s", ["x"]),
    ]
    ids = set()
    for _ in range(30):
        for interface, member, signature, body in calls:
            with pytest.raises(RemoteError) as caught:
                await client.call(NAME, PATH, interface, member, signature, body)
            ids.update(re.findall("log id ([0-9a-f]{8})", caught.value.text))
    assert len(caplog.records) == 1
    # whichever caller asks, the id that it was told is in the journal
    assert ids == set(re.findall("log id ([0-9a-f]{8})", caplog.text))
    assert service.connection.connected


async def test_cancelled_handler_still_replies(service: Service, client: Connection) -> None:
    held = asyncio.create_task(client.call(NAME, PATH, SAMPLE, "Hold", "s", ["x"]))
    await client.call(NAME, PATH, SAMPLE, "Echo", "s", ["it is in"])
    [task] = service.sample.to_cancel
    assert task is not None
    task.cancel()
    with pytest.raises(RemoteError) as caught:
        await held
    assert caught.value.name == f"{ERROR}SystemServiceFailed"
    with pytest.raises(RemoteError):
        await client.call(NAME, PATH, SAMPLE, "BreakLater", "s", ["cancelled"])


async def test_shutdown_replies_to_calls_in_flight(system_bus: str, raw: RawClient) -> None:
    async with running_service(system_bus) as service:
        for tag in "abc":
            await raw.send(raw.frame(PATH, SAMPLE, "Hold", "s", [tag]))
        await raw.ask(raw.frame(PATH, SAMPLE, "Echo", "s", ["all are in"]))
        await service.server.drain()
        assert service.sample.cancelled == 3
        answers = await raw.answers(3)
        late = await raw.ask(raw.frame(PATH, SAMPLE, "Echo", "s", ["too late"]))
        for answer in (*answers, late):
            assert answer.error_name == f"{ERROR}SystemServiceFailed"
            assert answer.body == ["9800004: shutting down"]


async def test_no_reply_where_none_is_wanted(service: Service, raw: RawClient) -> None:
    for member, body in (("Echo", ["a"]), ("Break", ["bug"]), ("BreakLater", ["bug"]), ("Nothing", ["x"])):
        await raw.send(raw.frame(PATH, SAMPLE, member, "s", body, flags=wire.NO_REPLY_EXPECTED))
    await raw.send(raw.frame(PATH, SAMPLE, "Silent", flags=wire.NO_REPLY_EXPECTED))
    answer = await raw.ask(raw.frame(PATH, SAMPLE, "Echo", "s", ["b"]))
    assert answer.body == ["b"]
    assert service.sample.silent_calls == 1


async def test_call_without_interface(service: Service, raw: RawClient) -> None:
    assert (await raw.ask(raw.frame(PATH, None, "Echo", "s", ["a"]))).body == ["a"]
    assert (await raw.ask(raw.frame(PATH, None, "Ping"))).type == wire.RETURN
    assert "<node>" in (await raw.ask(raw.frame("/", None, "Introspect"))).body[0]
    unknown = await raw.ask(raw.frame(PATH, None, "Nothing"))
    assert unknown.error_name == "org.freedesktop.DBus.Error.UnknownMethod"
    assert service.connection.connected


async def test_client_that_vanishes_between_call_and_reply(
    system_bus: str, service: Service, client: Connection
) -> None:
    gone = asyncio.Event()
    async with raw_client(system_bus) as raw:
        await raw.send(raw.frame(PATH, SAMPLE, "Hold", "s", ["x"]))
        await raw.ask(raw.frame(PATH, SAMPLE, "Echo", "s", ["it is in"]))
        service.server.callers.on_vanish(raw.name, gone.set)
        await raw.send(raw.frame(PATH, SAMPLE, "Who"))
        await raw.answers(1)
        await raw.send(raw.frame(PATH, "org.freedesktop.DBus.Introspectable", "Introspect") * 1)
    await gone.wait()
    service.sample.release.set()
    assert await client.call(NAME, PATH, SAMPLE, "Echo", "s", ["c"]) == ["c"]
    assert service.sample.holding == 0


async def test_timed_out_calls_leave_no_handler(client: Connection, raw: RawClient) -> None:
    # the raw client never answers
    for _ in range(100):
        with pytest.raises(CallTimeout, match="no reply"):
            await client.call(raw.name, "/", "a.b", "C", timeout=0)
    assert len(client._pending) == 0
    task = asyncio.create_task(client.call(raw.name, "/", "a.b", "C"))
    await asyncio.sleep(0)
    assert len(client._pending) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(client._pending) == 0
    raw.close()
    await client.call_bus("GetId")


async def test_error_reply_without_a_body(client: Connection, raw: RawClient) -> None:
    call = asyncio.create_task(client.call(raw.name, "/", "a.b", "C"))
    while (message := await raw.receive()).type != wire.CALL:
        pass
    raw.serial += 1
    bare = wire.build(
        wire.ERROR, raw.serial, error_name="a.b.Bare", reply_serial=message.serial, destination=message.sender
    )
    await raw.send(bare)
    with pytest.raises(RemoteError) as caught:
        await call
    assert (caught.value.name, caught.value.text) == ("a.b.Bare", "")


async def test_lost_connection_fails_what_waits(
    system_bus: str, service: Service, client: Connection
) -> None:
    held = asyncio.create_task(client.call(NAME, PATH, SAMPLE, "Hold", "s", ["x"]))
    await client.call(NAME, PATH, SAMPLE, "Echo", "s", ["it is in"])
    await client.close()
    for call in (held, client.call(NAME, PATH, SAMPLE, "Silent")):
        with pytest.raises(RemoteError) as caught:
            await call
        assert caught.value.name == "org.freedesktop.DBus.Error.Disconnected"
    assert service.connection.connected
