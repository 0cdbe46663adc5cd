# SPDX-License-Identifier: Apache-2.0
"""One client, or one burst, must not end the service's connection."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack

import pytest

from missiond.bus import fair_queue
from missiond.bus.connection import Connection
from missiond.bus.dispatcher import CallLimits
from missiond.bus.wire import message
from missiond.bus.wire.encode import Typed
from standins.clients.raw_client import RawClient, raw_client
from standins.programs.sample_service import NAME, PATH, SAMPLE, Service, running_service

INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"


async def works(client: Connection, text: str = "still there") -> bool:
    return (await client.call(NAME, PATH, SAMPLE, "Echo", "s", [text])) == [text]


@pytest.mark.parametrize(("count", "rounds"), [(100, 1), (960, 3)])
async def test_pipelined_introspects_of_one_client(
    service: Service, client: Connection, raw: RawClient, count: int, rounds: int
) -> None:
    # a long document, so that the kernel's buffers fill
    for number in range(200):
        service.server.add(f"{PATH}/a_rather_long_name_for_an_object_that_fills_the_document/{number}")
    replies = 0
    for _ in range(rounds):
        data = b"".join(raw.frame(PATH, INTROSPECTABLE, "Introspect") for _ in range(count))
        _, answers = await asyncio.gather(raw.send(data), raw.answers(count))
        # the bus itself refuses what is beyond 128 replies outstanding
        assert {answer.error_name for answer in answers} <= {
            None,
            "org.freedesktop.DBus.Error.LimitsExceeded",
        }
        replies += sum(answer.type == message.RETURN for answer in answers)
    assert replies >= min(count, 100)
    assert service.connection.connected
    assert await works(client)


FLOODERS = 12
LONG = 128 * 1024
"""Bytes that may wait to be sent: a document, and what else was answered in that turn."""


async def flood(client: RawClient, data: bytes) -> None:
    """Send and receive for as long as the bus lets."""

    async def read() -> None:
        while await client.read():
            pass

    reading = asyncio.ensure_future(read())
    try:
        while True:
            await client.send(data)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


@pytest.mark.slow
async def test_long_answers_of_many_are_in_nobodys_way(
    service: Service, client: Connection, system_bus: str
) -> None:
    """The bus takes little at a time from each: what is answered sooner keeps others waiting for seconds."""
    node, most = f"{PATH}/document", 0
    for number in range(200):
        service.server.add(f"{node}/{'long' * 30}_{number}")
    async with AsyncExitStack() as stack:
        flooding = []
        for _ in range(FLOODERS):
            each = await stack.enter_async_context(raw_client(system_bus))
            data = b"".join(each.frame(node, INTROSPECTABLE, "Introspect") for _ in range(50))
            flooding.append(asyncio.ensure_future(flood(each, data)))
        for number in range(2):
            assert await works(client, str(number))
            most = max(most, service.connection._transport.queued)
        for task in flooding:
            task.cancel()
        await asyncio.gather(*flooding, return_exceptions=True)
    assert most < LONG


async def test_a_persons_uids_count_as_one(service: Service, client: Connection) -> None:
    """Somebody with subuids gets no more turns than others."""
    assert service.server._person(client.unique_name) is None
    await client.call(NAME, PATH, SAMPLE, "Who")
    service.server.count_by(lambda uid: uid + 70_000)
    assert service.server._person(client.unique_name) == os.getuid() + 70_000


async def test_what_is_too_much_is_refused(
    service: Service, raw: RawClient, client: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fair_queue, "MOST", 10)
    service.server._line._congested = lambda: True
    await raw.send(b"".join(raw.frame(PATH, SAMPLE, "Echo", "s", [str(n)]) for n in range(15)))
    refused = await raw.answers(5)
    assert {answer.error_name for answer in refused} == {"org.missiond.Agent1.Error.TransactionFailed"}
    assert "too many calls wait" in refused[0].body[0]
    service.server._line._congested = lambda: False
    service.server._line.wake()
    assert [answer.body for answer in await raw.answers(10)] == [[str(n)] for n in range(10)]


async def test_burst_of_3000_signals_in_one_turn(service: Service, client: Connection) -> None:
    seen: list[int] = []
    done = asyncio.Event()

    def on_signal(number: int, _text: str) -> None:
        seen.append(number)
        if number == 2999:
            done.set()

    await client.add_signal(sender=NAME, interface=SAMPLE, member="Happened", callback=on_signal)
    for number in range(3000):
        service.server.emit(PATH, SAMPLE, "Happened", number, "x" * 200)
    await done.wait()
    assert seen == list(range(3000))
    assert service.connection.connected


async def test_order_is_kept_when_the_kernel_buffer_is_full(service: Service, client: Connection) -> None:
    seen: list[int] = []
    done = asyncio.Event()

    def on_signal(number: int, text: str) -> None:
        seen.append(number)
        if text == "end":
            done.set()

    await client.add_signal(sender=NAME, interface=SAMPLE, member="Happened", callback=on_signal)
    for number in range(400):
        service.server.emit(PATH, SAMPLE, "Happened", number, "y" * (20_000 if number % 3 else 1))
    service.server.emit(PATH, SAMPLE, "Happened", 400, "end")
    await done.wait()
    assert seen == list(range(401))


async def test_calls_in_flight_are_limited_per_connection(system_bus: str, raw: RawClient) -> None:
    async with running_service(system_bus, limits=CallLimits(calls_in_flight=8)) as service:
        await raw.send(b"".join(raw.frame(PATH, SAMPLE, "Hold", "s", [str(n)]) for n in range(20)))
        refused = await raw.answers(12)
        assert {answer.error_name for answer in refused} == {"org.missiond.Agent1.Error.TransactionFailed"}
        assert refused[0].body[0].startswith("9800003: too many calls in flight: at most 8")
        async with raw_client(system_bus) as other:
            await other.send(other.frame(PATH, SAMPLE, "Hold", "s", ["other"]))
            assert (await other.ask(other.frame(PATH, SAMPLE, "Echo", "s", ["me too"]))).body == ["me too"]
            service.sample.release.set()
            assert {answer.type for answer in await raw.answers(8)} == {message.RETURN}
            assert (await other.answers(1))[0].body == [f"other {other.name}"]
        assert (await raw.ask(raw.frame(PATH, SAMPLE, "Hold", "s", ["again"]))).body == [f"again {raw.name}"]


async def test_huge_call_is_refused_unread(service: Service, raw: RawClient, client: Connection) -> None:
    many = raw.frame(PATH, SAMPLE, "Echo", "s", ["z" * (8 << 20)])
    answer = await raw.ask(many)
    assert answer.error_name == "org.missiond.Agent1.Error.InvalidParameter"
    assert "at most 262144 bytes" in answer.body[0]
    assert await works(client)
    assert service.connection.connected


@pytest.mark.slow
async def test_huge_variants_cost_nothing(service: Service, raw: RawClient) -> None:
    # 400 000 variants would keep a decoder busy for seconds
    unit = Typed("y", 1)
    frame = raw.frame(PATH, "org.freedesktop.DBus.Peer", "Ping", "av", [[unit] * 400_000])
    signal = raw.frame(
        PATH, SAMPLE, "Unwanted", "av", [[unit] * 400_000], kind=message.SIGNAL,
        destination=service.connection.unique_name,
    )  # fmt: skip
    await raw.send(signal)
    begun = time.process_time()
    assert (await raw.ask(frame)).error_name == "org.freedesktop.DBus.Error.InvalidArgs"
    assert time.process_time() - begun < 1.0


async def test_queue_beyond_64_mib_ends_the_connection(service: Service) -> None:
    for _ in range(200):
        service.server.emit(PATH, SAMPLE, "Happened", 1, "q" * (1 << 20))
    await service.connection.wait_for_disconnect()
    assert "wait to be sent" in str(service.connection.error)
