# SPDX-License-Identifier: Apache-2.0
"""Whatever hosts and the network do, in whatever order: views are true at any time and equal at rest.

MISSIOND_SYNC_EXAMPLES=N runs N schedules that differ each time; without it they are few and always the same.
"""

from __future__ import annotations

import functools
import os
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from missiond.core.sync import publisher
from missiond.core.sync.publisher import split
from standins.examples import examples
from standins.worlds.sync_host import SILENT, Host, mission
from standins.worlds.sync_world import World

NAMES = "abcdef"
NAME = st.integers(0, 59)
"""A number that stands for one of the hosts, however many there are; so does a way for two of them."""
WAY = st.integers(0, 59)
TAG = st.sampled_from([0, 0, 0, 5, -1])
LABEL = st.sampled_from(["x", "y", "a longer name " * 8, SILENT])
EXAMPLES = int(os.environ.get("MISSIOND_SYNC_EXAMPLES", "0"))


class AnyOrder(RuleBasedStateMachine):
    world: World

    @initialize(
        count=st.sampled_from([2, 2, 3, 6]),
        newest=st.sampled_from([1, 1, 2]),
        linked=st.sampled_from([1, 1, 0]),
    )
    def begin(self, count: int, newest: int, linked: int) -> None:
        self.world = World({name: (1, newest if name == "b" else 1) for name in NAMES[:count]})
        if linked:
            for a, b in self.world.ways:
                self.world.sync(a, b, 0, True)
            for pair in self.world.pairs:
                self.world.connect(*sorted(pair))
            self.world.drain()

    def host(self, number: int) -> Host:
        hosts = list(self.world.hosts.values())
        return hosts[number % len(hosts)]

    def way(self, number: int) -> tuple[str, str]:
        a, b = self.world.ways[number % len(self.world.ways)]
        return a, b

    @rule(name=NAME, count=st.sampled_from([1, 1, 2, 20]), tag=TAG, label=LABEL)
    def missions_begin(self, name: int, count: int, tag: int, label: str) -> None:
        host = self.host(name)
        host.published.change(host.begin(count, tag, label), ())
        self.world.note(host)

    @rule(name=NAME, which=st.integers(0, 7), count=st.sampled_from([1, 1, 3, 9]))
    def missions_end(self, name: int, which: int, count: int) -> None:
        host = self.host(name)
        gone = list(host.rows)[which : which + count]
        for number in gone:
            del host.rows[number]
        host.published.change((), gone)
        self.world.note(host)

    @rule(name=NAME, which=st.integers(0, 7), tag=TAG, label=LABEL)
    def a_mission_changes(self, name: int, which: int, tag: int, label: str) -> None:
        host = self.host(name)
        for number in list(host.rows)[which : which + 1]:
            host.rows[number] = mission(number, label, tag)
            host.published.change([host.rows[number]], ())
            self.world.note(host)

    @rule(name=NAME, which=st.integers(0, 4), count=st.integers(0, 6), tag=TAG)
    def the_agent_returns(self, name: int, which: int, count: int, tag: int) -> None:
        host = self.host(name)
        for number in list(host.rows)[which:]:
            del host.rows[number]
        host.begin(count, tag, "new")
        host.published.replace(host.rows.values())
        self.world.note(host)

    @rule(name=NAME, which=st.integers(0, 7))
    def a_snapshot_changes(self, name: int, which: int) -> None:
        host = self.host(name)
        for number in list(host.rows)[which : which + 1]:
            for session in host.sessions.values():
                session.snapshot_changed(number)

    @rule(way=WAY, tag=TAG, fix_conflict=st.booleans())
    def sync(self, way: int, tag: int, fix_conflict: bool) -> None:
        self.world.sync(*self.way(way), tag, fix_conflict)

    @rule(way=WAY, again=st.booleans())
    def stop(self, way: int, again: bool) -> None:
        self.world.stop(*self.way(way))
        if again:
            self.world.sync(*self.way(way), 0, True)

    @rule(way=WAY, on=st.booleans())
    def watch(self, way: int, on: bool) -> None:
        name, peer = self.way(way)
        host = self.world.hosts[name]
        host.known[peer].snapshots = on
        if peer in host.sessions:
            host.sessions[peer].want_snapshots(on)

    @rule(way=WAY, changes=st.sampled_from([[False], [True], [False, True]]))
    def permit(self, way: int, changes: list[bool]) -> None:
        name, peer = self.way(way)
        host = self.world.hosts[name]
        for on in changes:
            host.known[peer].permitted = on
            if peer in host.sessions:
                host.sessions[peer].permit(on)

    @rule(
        way=WAY,
        what=st.sampled_from(["info", "snapshot"]),
        number=st.integers(1, 9),
        count=st.integers(1, 20),
    )
    def ask(self, way: int, what: str, number: int, count: int) -> None:
        for _ in range(count):
            self.world.ask(*self.way(way), what, number)

    @rule(way=WAY)
    def connect(self, way: int) -> None:
        self.world.connect(*self.way(way))

    @rule(way=WAY, most=st.sampled_from([1, 2, 7]))
    def some_arrives(self, way: int, most: int) -> None:
        self.world.deliver(*self.way(way), most)

    @rule()
    def everything_arrives(self) -> None:
        self.world.drain()

    @rule(way=WAY, noticed=st.sampled_from(["both", "one", "nobody"]))
    def reset(self, way: int, noticed: str) -> None:
        a, b = self.way(way)
        self.world.reset(a, b, {"both": {a, b}, "one": {a}, "nobody": set()}[noticed])

    @rule(way=WAY)
    def partition(self, way: int) -> None:
        self.world.cut.add(frozenset(self.way(way)))

    @rule(name=NAME)
    def cut_off(self, name: int) -> None:
        self.world.cut |= {pair for pair in self.world.pairs if self.host(name).name in pair}

    @rule()
    def heal(self) -> None:
        self.world.cut.clear()

    @rule(name=NAME)
    def read_nothing(self, name: int) -> None:
        self.world.stalled ^= {self.host(name).name}

    @rule(way=WAY, patience=st.sampled_from([500, 5_000]))
    def probe(self, way: int, patience: int) -> None:
        name, peer = self.way(way)
        session = self.world.hosts[name].sessions.get(peer)
        if session is not None:
            session.probe(patience)

    @rule(name=NAME, store=st.booleans(), views=st.booleans())
    def restart(self, name: int, store: bool, views: bool) -> None:
        self.world.restart(self.host(name), store=store, views=views)

    @rule(ms=st.sampled_from([1, 100, 250, 3_000, 40_000, 130_000]))
    def time_passes(self, ms: int) -> None:
        self.world.pass_time(ms)

    @rule(name=NAME, ms=st.sampled_from([10_000, 3_600_000, 10**9]))
    def a_host_sleeps(self, name: int, ms: int) -> None:
        self.world.pass_time(ms, {self.host(name).name})

    @rule()
    def everything_rests(self) -> None:
        self.world.settle()

    @invariant()
    def true_at_any_time(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.settle()


@pytest.mark.slow
@pytest.mark.timeout(120 + EXAMPLES)
def test_any_order() -> None:
    many = settings(
        max_examples=EXAMPLES or examples(150),
        stateful_step_count=60,
        deadline=None,
        derandomize=not EXAMPLES,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    short = functools.partial(split, most=700)
    with mock.patch.object(publisher, "split", short):
        run_state_machine_as_test(AnyOrder, settings=many)
