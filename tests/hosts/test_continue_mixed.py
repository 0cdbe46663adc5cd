# SPDX-License-Identifier: Apache-2.0
"""Missions go on between hosts of different releases, in both directions.

Run once, with the hosts of bookworm. MISSIOND_CONTINUE_KILLS says how often a daemon is killed at a random
moment, and MISSIOND_CONTINUE_SEED which moments those are; what was chosen is printed.
"""

from __future__ import annotations

import itertools
import os
import random
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts.client import main_pid
from hosts.continuing import UNAWARE, Going, count, counted, end_all, listed, of, running, settle, wait
from hosts.devices import AGENT, UNIT, state
from hosts.lan import Lan
from hosts.machine import Host
from hosts.trees import SUITES, tree
from hosts.two import Two, befriended, on_the_network

pytestmark = [
    pytest.mark.timeout(180, func_only=True),
    pytest.mark.skipif("bookworm" not in SUITES, reason="run once, with the hosts of bookworm"),
]
LARGE = ("--state", "20000000")
KILLS = int(os.environ.get("MISSIOND_CONTINUE_KILLS", "4"))
SEED = int(os.environ.get("MISSIOND_CONTINUE_SEED") or secrets.randbelow(1_000_000))
LONGEST = 1.5
"""Seconds from the begin of a push until the last moment of a kill; the push takes about one."""
DECIDED = 3.0
"""Seconds from when both hosts are connected again until it runs at one of them and all know that, on a
machine that has nothing else to do."""


@pytest.fixture(scope="module")
def both(deb: Path) -> Iterator[Two]:
    """Trusting each other."""
    trees = [tree("host", release, deb) for release in ("bookworm", "trixie")]
    with Lan() as lan, Host(trees[0], lan=lan) as one, Host(trees[1], lan=lan) as two:
        on_the_network(one, two)
        yield befriended(lan, one, two)


@pytest.fixture(params=["from bookworm", "from trixie"])
def hosts(request: pytest.FixtureRequest, both: Two) -> Iterator[Two]:
    """With nothing of alice's running, before and after; the first is of the release that is named."""
    end_all(both.hosts)
    turned = Two(both.lan, both.two, both.one, both.second, both.first)
    yield both if request.param == "from bookworm" else turned
    settle(both.hosts)
    end_all(both.hosts)
    for host in both.hosts:
        for unit in (AGENT, UNIT):
            assert "Traceback" not in host.journal(unit)
            assert "internal error" not in host.journal(unit)


def from_there(it: Two, seen: int) -> None:
    """It counts on at the second host, and there alone."""
    assert it.where() == (0, 1)
    wait(it.two, lambda: counted(it.two), "no count")
    assert counted(it.two)[0] >= seen
    assert "damaged" not in it.two.journal(None, "_UID=1000")


def test_pushed_and_fetched_back(hosts: Two) -> None:
    first = count(hosts.one, *LARGE)
    for _ in range(2):
        seen = int(first.stdout.readline())
    assert Going(hosts.one, hosts.first, hosts.second, of(hosts.one)).end() == (0, "")
    from_there(hosts, seen)
    mission = of(hosts.two)
    settle(hosts.hosts)
    assert Going(hosts.one, hosts.second, hosts.first, mission).end() == (0, "")
    assert hosts.where() == (1, 0)


def test_fetched_and_pushed_back(hosts: Two) -> None:
    seen = int(count(hosts.one).stdout.readline())
    assert Going(hosts.two, hosts.first, hosts.second, of(hosts.one)).end() == (0, "")
    from_there(hosts, seen)
    mission = of(hosts.two)
    settle(hosts.hosts)
    assert Going(hosts.two, hosts.second, hosts.first, mission).end() == (0, "")
    assert hosts.where() == (1, 0)


def test_a_program_that_knows_nothing_of_it(hosts: Two) -> None:
    command = ["missionctl", "run", "--continuable", "--", UNAWARE, "a b"]
    hosts.one.spawn(command, user="alice")
    assert Going(hosts.one, hosts.first, hosts.second, of(hosts.one, UNAWARE)).end() == (0, "")
    assert hosts.where(UNAWARE) == (0, 1)


@pytest.mark.parametrize("phase", ["sending", "stopping", "committed"])
@pytest.mark.parametrize("which", ["source", "target"])
def test_an_agent_that_is_killed(hosts: Two, phase: str, which: str) -> None:
    """One of the two runs then, and the caller is told which."""
    host = hosts.one if which == "source" else hosts.two
    pid = main_pid(host, AGENT)
    count(hosts.one, *LARGE)
    going = Going(hosts.one, hosts.first, hosts.second, of(hosts.one))
    going.until(phase)
    host.run(["kill", "-KILL", pid])
    code, reason = going.end()
    settle(hosts.hosts)
    assert hosts.where() == ((1, 0) if code else (0, 1)), (code, reason)
    ran = hosts.one if code else hosts.two
    assert "damaged" not in ran.journal(None, "_UID=1000")


@pytest.mark.timeout(60 + 60 * KILLS, func_only=True)
def test_one_of_the_four_daemons_killed_at_a_random_moment(
    both: Two, capsys: pytest.CaptureFixture[str]
) -> None:
    """It never runs twice, never is nowhere without being listed, and all is decided soon.

    A hand-over that goes on after the kill takes its own time: on a busy machine that is what counts.
    """
    undisturbed = pushed(both)
    soon = max(DECIDED, 2 + 2 * undisturbed) * max(each.slower for each in both.hosts)
    with capsys.disabled():
        print(f"\na push that nothing disturbs took {undisturbed:.1f} s; decided counts up to {soon:.1f} s")
    turned = Two(both.lan, both.two, both.one, both.second, both.first)
    daemons = itertools.cycle(random.Random(SEED).sample([(w, u) for w in (0, 1) for u in (AGENT, UNIT)], 4))
    for number, (which, unit) in zip(range(KILLS), daemons, strict=False):
        chosen = random.Random(SEED + number)
        it, moment = chosen.choice([both, turned]), chosen.uniform(0, LONGEST)
        what = f"seed {SEED}, kill {number}: {unit} at {it.hosts[which].name} after {moment:.2f} s"
        end_all(both.hosts)
        try:
            took = decided_after_a_kill(it, it.hosts[which], unit, moment, soon)
        except AssertionError as error:
            error.add_note(what)
            raise
        with capsys.disabled():
            print(f"\n{what} of a push from {it.one.name}: decided {took:.1f} s after both were connected")
    settle(both.hosts)
    end_all(both.hosts)
    for host in both.hosts:
        host.wait_for(lambda host=host: records(host) <= {"fences.json"})  # type: ignore[misc]
    for host, unit in itertools.product(both.hosts, (AGENT, UNIT)):
        assert "Traceback" not in host.journal(unit)
        assert "internal error" not in host.journal(unit)


def records(host: Host) -> set[str]:
    """What hand-overs have left on its disk."""
    return set(host.run(["ls", "/var/lib/missiond/handovers"]).stdout.split())


def pushed(it: Two) -> float:
    """Seconds that a push takes until it is over, once whatever it needs there has been started before."""
    for _ in range(2):
        end_all(it.hosts)
        count(it.one)
        going = Going(it.one, it.first, it.second, of(it.one))
        began = float(going.until("id")[-1])
        assert going.end() == (0, "")
        ended = next(float(said[-1]) for said in going.said if said[0] == "ended")
    return ended - began


def decided_after_a_kill(it: Two, host: Host, unit: str, moment: float, soon: float) -> float:
    """Kill it in mid-push; how many seconds after both were connected again all was decided."""
    count(it.one)
    pid = main_pid(host, unit)
    going = Going(it.one, it.first, it.second, of(it.one))
    going.until("id")
    time.sleep(moment)  # the moment is what is tried
    host.run(["kill", "-KILL", pid])
    host.wait_for(lambda: host.show(unit, "MainPID") not in ("0", pid), 15)
    wait(host, lambda: seen_once(it) and connected(it), "not connected again")
    since = time.monotonic()
    rows: list[object] = []

    def decided() -> bool:
        rows.append((round(time.monotonic() - since, 1), phases(it.one), phases(it.two), it.where()))
        return seen_once(it) and not in_flight(it)

    wait(host, decided, "not decided")
    took = time.monotonic() - since
    assert took <= soon, rows
    code, reason = going.end()
    assert it.where() == ((1, 0) if code else (0, 1)), (code, reason)
    ran = it.one if code else it.two
    assert "damaged" not in ran.journal(None, "_UID=1000")
    return took


def seen_once(it: Two) -> bool:
    """See that it runs once or is listed; first at the target, since it does not go back from there."""
    there = len(running(it.two))
    here = len(running(it.one))
    assert here + there <= 1, "it runs twice"
    if not here + there and not in_flight(it):
        # it may have been started since
        assert sum(it.where()) == 1, "it runs nowhere, and is not listed"
    return True


def phases(host: Host) -> list[object]:
    """What it lists, or that it can't say."""
    try:
        return [row["phase"] for row in listed(host)]
    except AssertionError:
        return ["?"]


def in_flight(it: Two) -> bool:
    """Whether a host lists it, or can't say: its agent was killed just now."""
    try:
        return bool(listed(it.one) or listed(it.two))
    except AssertionError:
        return True


def connected(it: Two) -> bool:
    """Whether both say so of each other."""
    try:
        return state(it.one, it.second) == state(it.two, it.first) == "connected"
    except AssertionError:
        return False
