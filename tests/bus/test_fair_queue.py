# SPDX-License-Identifier: Apache-2.0
"""Nobody's calls keep those of others waiting."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

import pytest

from missiond.bus import fair_queue as line_module
from missiond.bus.fair_queue import A_TURN, FIRST_TURN, SLICE, FairQueue
from missiond.bus.wire import message

ALICE, BOB = 1000, 1001


class Identities:
    """Who is who, and whether the way out is free."""

    def __init__(self) -> None:
        self.may_ask = True
        self.congested = False
        self.known = {":1.1": ALICE, ":1.2": ALICE, ":1.3": BOB}


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


def queue(
    identities: Identities,
    served: Served,
    refuse: Callable[[message.Incoming], None] = lambda call: pytest.fail(f"{call.sender} was refused"),
) -> FairQueue:
    return FairQueue(
        identities.known.get, lambda: identities.may_ask, served, refuse, lambda: identities.congested
    )


async def until_empty(line: FairQueue) -> None:
    while len(line):
        await asyncio.sleep(0)


async def test_what_comes_alone_is_served_at_once() -> None:
    served = Served()
    line = queue(Identities(), served)
    for serial in range(FIRST_TURN):
        line.put(call(":1.1", serial))
    assert len(served.calls) == FIRST_TURN


async def test_one_user_waits_for_one_call_of_another() -> None:
    served = Served()
    line = queue(Identities(), served)
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
    line = queue(Identities(), served)
    for serial in range(30):
        line.put(call(":1.1", serial))
    steps = [0, len(served.calls)]
    while len(line):
        await asyncio.sleep(0)
        steps.append(len(served.calls))
    assert max(after - before for before, after in zip(steps, steps[1:])) <= 4  # noqa: B905, RUF007


async def test_a_sender_that_becomes_known_stays_in_order() -> None:
    served, identities = Served(), Identities()
    line = queue(identities, served)
    for serial in range(A_TURN + 5):
        line.put(call(":1.9", serial))
    identities.known[":1.9"] = ALICE
    for serial in range(A_TURN + 5, A_TURN + 10):
        line.put(call(":1.9", serial))
    await until_empty(line)
    assert [serial for _, serial in served.calls] == list(range(A_TURN + 10))


async def test_those_whom_nobody_knows_wait_while_many_are_asked_about() -> None:
    served, identities = Served(), Identities()
    line = queue(identities, served)
    identities.may_ask = False
    line.put(call(":1.7"))
    line.put(call(":1.1"))
    await asyncio.sleep(0)
    assert served.calls == [(":1.1", 1)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert line._handle is None  # nothing turns meanwhile
    identities.may_ask = True
    line.wake()
    await asyncio.sleep(0)
    assert served.calls == [(":1.1", 1), (":1.7", 1)]


async def test_descriptors_stay_open_until_the_call_was_served() -> None:
    served = Served()
    seen: list[bool] = []
    line = queue(Identities(), served)
    for serial in range(FIRST_TURN):
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
    """Who has the most is refused, and the descriptors of what is refused are closed."""
    most = 60
    monkeypatch.setattr(line_module, name, most)
    served, refused = Served(), list[tuple[str | None, int]]()
    identities = Identities()
    identities.congested = True
    line = queue(identities, served, lambda each: refused.append((each.sender, each.serial)))
    body = b"\2\0\0\0xx" if name == "MOST_BYTES" else b""
    room = most // len(body) if body else most
    read, write = os.pipe()
    line.put(call(":1.3", 1, body))
    for serial in range(room + 10):
        each = call(":1.1", serial, body)
        each.fds = [read, write] if serial == room + 9 else []
        line.put(each)
    line.put(call(":1.3", 2, body))
    line.put(call(":1.2", 1, body))
    assert len(line) == room
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(read)
    identities.congested = False
    line.wake()
    await until_empty(line)
    assert refused == [(":1.1", serial) for serial in [*range(room - 1, room + 10), room - 2, room - 3]]
    assert sorted(served.calls) == [
        *((":1.1", serial) for serial in range(room - 3)),
        (":1.2", 1),
        (":1.3", 1),
        (":1.3", 2),
    ]


async def test_one_connection_waits_for_one_call_of_another() -> None:
    """Also those of one person."""
    served = Served()
    line = queue(Identities(), served)
    for serial in range(1000):
        line.put(call(":1.1", serial))
    line.put(call(":1.2"))
    before = len(served.calls)
    await asyncio.sleep(0)
    assert (":1.2", 1) in served.calls[before : before + 2]
    line.flush()


async def test_nothing_is_served_while_answers_wait() -> None:
    served, identities = Served(), Identities()
    line = queue(identities, served)
    identities.congested = True
    for serial in range(100):
        line.put(call(":1.1", serial))
    for _ in range(3):
        await asyncio.sleep(0)
    assert served.calls == []
    assert line._handle is None  # nothing turns meanwhile

    def congest(_call: message.Incoming) -> None:
        identities.congested = True

    served.then = congest
    for number in range(1, 4):
        identities.congested = False
        line.wake()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(served.calls) == number
    served.then = lambda _call: None
    identities.congested = False
    line.wake()
    await until_empty(line)
    assert [serial for _, serial in served.calls] == list(range(100))


async def test_turns_grow_while_answers_are_short() -> None:
    """Answers that come later may be long: many are begun at a time only where that went well."""
    served = Served()
    line = queue(Identities(), served)
    for serial in range(200):
        line.put(call(":1.1", serial))
    sizes, before = list[int](), len(served.calls)
    while len(line):
        await asyncio.sleep(0)
        sizes.append(len(served.calls) - before)
        before = len(served.calls)
    assert before == 200
    assert sizes[:2] == [A_TURN, A_TURN]
    assert max(sizes) == A_TURN


async def test_all_are_served_at_the_end() -> None:
    served, identities = Served(), Identities()
    line = queue(identities, served)
    identities.may_ask = False
    for serial in range(100):
        line.put(call(":1.8", serial))
    line.flush()
    assert len(served.calls) == 100
    assert line._persons_of == {}
