# SPDX-License-Identifier: Apache-2.0
"""Nobody's calls keep those of others waiting."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import NamedTuple

import pytest

from missiond.bus import fair_queue as line_module
from missiond.bus.fair_queue import A_TURN, SLICE, UNKNOWN, FairQueue
from missiond.bus.wire import message

ALICE, BOB = 1000, 1001


class Known(NamedTuple):
    """A caller."""

    uid: int


class Identities:
    """Who is who."""

    def __init__(self) -> None:
        self.asking = 0
        self.known = {":1.1": ALICE, ":1.2": ALICE, ":1.3": BOB}

    def cached(self, name: str) -> Known | None:
        return Known(self.known[name]) if name in self.known else None


def call(sender: str, serial: int = 1, body: bytes = b"") -> message.Incoming:
    data = message.build(
        message.CALL, serial, path="/", member="Do", signature="ay" if body else "", body=body
    )
    header, length = message.lengths(data)
    made = message.Incoming(data, header, length)
    made.sender = sender
    return made


class Served:
    """Notes what is served."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.calls: list[tuple[str | None, int]] = []
        self.seconds = seconds
        self.then: Callable[[message.Incoming], None] = lambda _call: None

    def __call__(self, served: message.Incoming) -> None:
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            pass
        self.calls.append((served.sender, served.serial))
        self.then(served)


async def until_empty(line: FairQueue) -> None:
    while len(line):
        await asyncio.sleep(0)


async def test_what_comes_alone_is_served_at_once() -> None:
    served = Served()
    line = FairQueue(Identities(), served)
    for serial in range(A_TURN):
        line.put(call(":1.1", serial))
    assert len(served.calls) == A_TURN


async def test_one_user_waits_for_one_call_of_another() -> None:
    served = Served()
    line = FairQueue(Identities(), served)
    for serial in range(1000):
        line.put(call(":1.1", serial))
        line.put(call(":1.2", serial))
    line.put(call(":1.3"))
    before = len(served.calls)
    await asyncio.sleep(0)
    assert (":1.3", 1) in served.calls[before : before + 2]
    await until_empty(line)
    for sender in (":1.1", ":1.2"):
        assert [serial for who, serial in served.calls if who == sender] == list(range(1000))


async def test_a_turn_is_short() -> None:
    served = Served(SLICE / 3)
    line = FairQueue(Identities(), served)
    for serial in range(30):
        line.put(call(":1.1", serial))
    steps = [0, len(served.calls)]
    while len(line):
        await asyncio.sleep(0)
        steps.append(len(served.calls))
    assert max(after - before for before, after in zip(steps, steps[1:])) <= 4  # noqa: B905, RUF007


async def test_a_sender_that_becomes_known_stays_in_order() -> None:
    served, identities = Served(), Identities()
    line = FairQueue(identities, served)
    for serial in range(A_TURN + 5):
        line.put(call(":1.9", serial))
    identities.known[":1.9"] = ALICE
    for serial in range(A_TURN + 5, A_TURN + 10):
        line.put(call(":1.9", serial))
    await until_empty(line)
    assert [serial for _, serial in served.calls] == list(range(A_TURN + 10))


async def test_those_whom_nobody_knows_wait_while_many_are_asked_about() -> None:
    served, identities = Served(), Identities()
    line = FairQueue(identities, served)
    identities.asking = UNKNOWN
    line.put(call(":1.7"))
    line.put(call(":1.1"))
    await asyncio.sleep(0)
    assert served.calls == [(":1.1", 1)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert line._handle is None  # nothing turns meanwhile
    identities.asking -= 1
    line.wake()
    await asyncio.sleep(0)
    assert served.calls == [(":1.1", 1), (":1.7", 1)]


async def test_descriptors_stay_open_until_the_call_was_served() -> None:
    served = Served()
    seen: list[bool] = []
    line = FairQueue(Identities(), served)
    for serial in range(A_TURN):
        line.put(call(":1.1", serial))
    late = call(":1.1", 99)
    read, write = os.pipe()
    late.fds = [read, write]
    line.put(late)
    late.close_fds()  # as the connection does after it has handed a call on
    served.then = lambda each: seen.append(bool(os.fstat(each.fds[0])))
    await until_empty(line)
    assert seen == [True]
    for fd in (read, write):
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)


@pytest.mark.parametrize("name", ["MOST", "MOST_BYTES"])
async def test_there_is_an_end_to_what_may_wait(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    most = 10
    monkeypatch.setattr(line_module, name, most)
    served = Served()
    line = FairQueue(Identities(), served)
    for serial in range(A_TURN + 100):
        line.put(call(":1.1", serial, b"\2\0\0\0xx" if name == "MOST_BYTES" else b""))
    assert len(line) <= most
    await until_empty(line)
    assert [serial for _, serial in served.calls] == list(range(A_TURN + 100))


async def test_all_are_served_at_the_end() -> None:
    served, identities = Served(), Identities()
    line = FairQueue(identities, served)
    identities.asking = UNKNOWN
    for serial in range(100):
        line.put(call(":1.8", serial))
    line.flush()
    assert len(served.calls) == 100
    assert line._places == {}


async def test_all_uids_of_a_person_wait_in_one_queue() -> None:
    """Somebody with subuids gets no more turns than others."""
    identities, served = Identities(), Served()
    identities.known = {f":1.{number}": 100_000 + number for number in range(1, 50)} | {":1.99": BOB}
    line = FairQueue(identities, served)
    line.person_of = lambda uid: ALICE if uid >= 100_000 else uid
    for number in range(1, 50):
        for serial in range(1, 4):
            line.put(call(f":1.{number}", serial))
    line.put(call(":1.99"))
    waited = len(served.calls)
    while len(line):
        await asyncio.sleep(0)
    assert served.calls.index((":1.99", 1)) <= waited + 1
    assert len(served.calls) == 3 * 49 + 1
