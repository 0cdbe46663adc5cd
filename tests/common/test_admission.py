# SPDX-License-Identifier: Apache-2.0
"""Limits on what may be under way at a time."""

from __future__ import annotations

import asyncio

import pytest

from missiond.common.admission import Admission


class Full(Exception):
    """No place is free."""


def entered(admission: Admission, key: object, times: int) -> None:
    for _ in range(times):
        admission.enter(key)


async def settled() -> None:
    """Let every task go as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


class Visitors:
    """Hold their places until told to leave, and note who came in in which order."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.came: list[object] = []
        self.leaving: dict[object, list[asyncio.Event]] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def _visit(self, key: object) -> None:
        async with self.admission.turn(key):
            self.came.append(key)
            leave = asyncio.Event()
            self.leaving.setdefault(key, []).append(leave)
            await leave.wait()

    async def come(self, *keys: object) -> None:
        self.tasks += [asyncio.ensure_future(self._visit(key)) for key in keys]
        await settled()

    async def leave(self, key: object) -> None:
        self.leaving[key].pop(0).set()
        await settled()


def test_so_many_in_all_and_of_each() -> None:
    admission = Admission(Full, most=3, each=2)
    entered(admission, "a", 2)
    with pytest.raises(Full):
        admission.enter("a")
    admission.enter("b")
    with pytest.raises(Full):
        admission.enter("c")
    admission.leave("a")
    with admission.place("c"):
        assert len(admission) == 3
    assert len(admission) == 2


def test_nobodys_key_has_no_limit_of_its_own() -> None:
    admission = Admission(Full, most=3, each=1)
    entered(admission, None, 3)
    with pytest.raises(Full):
        admission.enter()


async def test_whoever_waits_comes_in_by_turns_of_keys() -> None:
    visitors = Visitors(Admission(Full, most=1))
    await visitors.come("a", "a", "a", "b", "c")
    assert visitors.came == ["a"]
    for key in ("a", "a", "b", "c"):
        await visitors.leave(key)
    assert visitors.came == ["a", "a", "b", "c", "a"]
    await visitors.leave("a")
    assert (len(visitors.admission), visitors.admission.waiting) == (0, 0)


async def test_one_key_at_its_limit_keeps_no_other_waiting() -> None:
    visitors = Visitors(Admission(Full, most=3, each=1))
    await visitors.come("a", "a", "a", "b")
    assert visitors.came == ["a", "b"]
    await visitors.leave("a")
    assert visitors.came == ["a", "b", "a"]


async def test_the_queue_has_an_end() -> None:
    visitors = Visitors(Admission(Full, most=1, queue=1))
    await visitors.come("a", "b", "c")
    with pytest.raises(Full):
        await visitors.tasks[2]
    await visitors.leave("a")
    assert visitors.came == ["a", "b"]


async def test_a_new_one_does_not_overtake_its_own() -> None:
    admission = Admission(Full, most=1)
    visitors = Visitors(admission)
    await visitors.come("a", "a")
    with pytest.raises(Full):
        admission.enter("a")


@pytest.mark.parametrize("given", [False, True])
async def test_whoever_gives_up_costs_no_place(given: bool) -> None:
    visitors = Visitors(Admission(Full, most=1))
    await visitors.come("a", "b", "c")
    if given:
        visitors.leaving["a"].pop().set()
        while visitors.admission.waiting == 2:
            await asyncio.sleep(0)
        visitors.tasks[1].cancel()
        await settled()
    else:
        visitors.tasks[1].cancel()
        await visitors.leave("a")
    assert visitors.came[-1] == "c"
    assert len(visitors.admission) == 1
