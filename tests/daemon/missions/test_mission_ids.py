# SPDX-License-Identifier: Apache-2.0
"""Ids of missions: each is given once, whatever ends, comes back or is restarted."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from missiond.core.missions.missions import Leader, Mission, Registration, Sighting
from missiond.core.tasks.shares import Shares
from missiond.daemon.missions.registry import MissionObserver, MissionRegistry
from missiond.degraded import Degraded
from missiond.errors import TransactionFailed
from missiond.host.processes import stat
from missiond.host.processes.processes import ProcessWatch
from missiond.store.counters import Counters
from missiond.store.record_store import RecordStore
from standins.examples import examples

KEYS = ("unit/1", "unit/2", "job/3/7", "job/3/8")
STEPS = st.one_of(
    st.tuples(st.just("found"), st.sampled_from(KEYS), st.integers(1, 3)),
    st.tuples(st.just("lost"), st.sampled_from(KEYS), st.just(0)),
    st.tuples(st.just("register"), st.just(""), st.just(0)),
    st.tuples(st.just("restart"), st.sampled_from(("", *KEYS)), st.just(0)),
)
Step = tuple[str, str, int]


def make(directory: Path, stack: ExitStack, on_room: Callable[[], None] = lambda: None) -> MissionRegistry:
    files, counters = RecordStore(directory), Counters(directory / "counters")
    stack.callback(files.close)
    return MissionRegistry(
        files,
        counters,
        ProcessWatch(),
        Degraded(),
        Shares(50),
        on_room=on_room,
        on_leader_exit=lambda _seen: None,  # there are no such processes
    )


def sighting(key: str, start: int) -> Sighting:
    # a process leads one job at most, for it is in one process group
    pid = 2**22 - 1 - (key == "job/3/8")
    return Sighting(key, Leader(pid, start), os.getuid(), "app", "App", "", start)


async def play(directory: Path, steps: list[Step], stack: ExitStack) -> None:
    missions = make(directory, stack)
    missions.load()
    missions.finish()
    given_to: dict[int, set[str]] = {}
    for action, key, start in steps:
        before = {mission.id: mission.seen.key for mission in missions.table}
        if action == "found":
            missions.found(sighting(key, start))
        elif action == "lost":
            missions.lost(key)
        elif action == "register":
            missions.register(os.getpid(), Registration(label="x"))
        else:
            seen = [mission.seen for mission in missions.table if mission.found and mission.seen.key != key]
            missions.close()
            missions = make(directory, stack)
            missions.load()
            for each in seen:
                missions.found(each)
            missions.finish()
            kept = {mission.id: mission.seen.key for mission in missions.table}
            assert kept.items() <= before.items(), "a restart gives no new id to what was there"
            assert len(kept) == len([known for known in before.values() if known != key])
        now = {mission.id: mission.seen.key for mission in missions.table}
        for number, its in now.items():
            assert number in before or number not in given_to, f"{number} was another's"
            given_to.setdefault(number, set()).add(its)
        assert sorted(given_to) == list(range(1, len(given_to) + 1))
    missions.close()


@settings(deadline=None, max_examples=examples(60))
@given(st.lists(STEPS, max_size=25))
def test_no_id_is_given_twice(steps: list[Step]) -> None:
    assert stat.read(os.getpid()).start_ticks
    # A loop that is nobody's current one: the suite's own would be dropped unclosed.
    own = asyncio.Runner(loop_factory=asyncio.new_event_loop)
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack, own as runner:
        runner.run(play(Path(directory), steps, stack))


class Told(MissionObserver):
    """How often something was told of (MissionObserver)."""

    def __init__(self) -> None:
        self.changes = 0

    def added(self, mission: Mission) -> None: ...

    def changed(self, mission: Mission, *properties: str) -> None:
        self.changes += 1

    def removed(self, mission: Mission) -> None: ...


async def test_a_job_keeps_its_number_where_its_leader_goes(tmp_path: Path) -> None:
    """To another control group, and to a process group of its own."""
    with ExitStack() as stack:
        missions = make(tmp_path, stack)
        for key in ("job/3/7", "job/4/7", "job/4/8"):
            before = [mission.seen.key for mission in missions.table]
            missions.found(sighting(key, 1))
            for old in before:
                missions.lost(old)
            assert [(mission.id, mission.seen.key) for mission in missions.table] == [(1, key)]
        missions.found(sighting("unit/5", 1))
        assert [mission.id for mission in missions.table] == [1, 2]


async def test_another_look_at_the_same_is_no_change(tmp_path: Path) -> None:
    """The start time is worked out of two clocks, also by the next run."""
    first, again = (
        Sighting("job/3/7", Leader(os.getpid(), 1), os.getuid(), "app", "App", "", microseconds)
        for microseconds in (5, 6)
    )
    with ExitStack() as stack:
        missions = make(tmp_path, stack)
        told = Told()
        missions.subscribe(told)
        missions.found(first)
        missions.found(again)
        assert told.changes == 0
        missions.close()
        missions = make(tmp_path, stack)
        missions.load()
        missions.found(again)
        assert [mission.seen for mission in missions.table] == [first]


async def test_one_users_missions_leave_room_for_others_and_come_back_into_view(tmp_path: Path) -> None:
    with ExitStack() as stack:
        asked = 0

        def room() -> None:
            nonlocal asked
            asked += 1

        missions = make(tmp_path, stack, room)
        missions.shares.configure(64)
        missions._person_of = lambda uid: 1000 if uid >= 100_000 else uid
        missions._watch = lambda mission: None  # type: ignore[method-assign] # there are no such processes
        for n in range(100):
            seen = Sighting(f"unit/{n}", Leader(2**22 - 1 - n, 1), 100_000 + n, "app", "App", "", 1)
            missions.found(seen)
        assert 20 <= len(missions.table) <= 32
        assert any("MaxMissions=" in sentence for sentence in missions._degraded.sentences)
        missions.found(Sighting("unit/200", Leader(2**21, 1), 1001, "app", "App", "", 1))
        assert missions.table.with_key("unit/200") is not None
        missions._person_of = lambda uid: 1000
        with pytest.raises(TransactionFailed, match="MaxMissions="):
            missions.register(os.getpid(), Registration(label="x"))
        missions.lost("unit/0")
        assert asked == 1
        assert not missions._degraded.sentences
        missions.found(Sighting("unit/99", Leader(2**20, 1), 100_099, "app", "App", "", 1))
        assert missions.table.with_key("unit/99") is not None
