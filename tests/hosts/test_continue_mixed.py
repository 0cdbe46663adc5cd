# SPDX-License-Identifier: Apache-2.0
"""Missions go on between hosts of different releases, in both directions.

Run once, with the hosts of bookworm.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts.client import main_pid
from hosts.continuing import UNAWARE, Going, count, counted, end_all, of, settle, wait
from hosts.devices import AGENT, UNIT
from hosts.lan import Lan
from hosts.machine import Host
from hosts.trees import SUITES, tree
from hosts.two import Two, befriended, on_the_network

pytestmark = [
    pytest.mark.timeout(180, func_only=True),
    pytest.mark.skipif("bookworm" not in SUITES, reason="run once, with the hosts of bookworm"),
]
LARGE = ("--state", "20000000")


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
    assert Going(hosts.one, "", hosts.second, of(hosts.one)).end() == (0, "")
    from_there(hosts, seen)
    mission = of(hosts.two)
    settle(hosts.hosts)
    assert Going(hosts.one, hosts.second, "", mission).end() == (0, "")
    assert hosts.where() == (1, 0)


def test_fetched_and_pushed_back(hosts: Two) -> None:
    seen = int(count(hosts.one).stdout.readline())
    assert Going(hosts.two, hosts.first, "", of(hosts.one)).end() == (0, "")
    from_there(hosts, seen)
    mission = of(hosts.two)
    settle(hosts.hosts)
    assert Going(hosts.two, "", hosts.first, mission).end() == (0, "")
    assert hosts.where() == (1, 0)


def test_a_program_that_knows_nothing_of_it(hosts: Two) -> None:
    command = ["missionctl", "run", "--continuable", "--", UNAWARE, "a b"]
    hosts.one.spawn(command, user="alice")
    assert Going(hosts.one, "", hosts.second, of(hosts.one, UNAWARE)).end() == (0, "")
    assert hosts.where(UNAWARE) == (0, 1)


@pytest.mark.parametrize("phase", ["sending", "stopping", "committed"])
@pytest.mark.parametrize("which", ["source", "target"])
def test_an_agent_that_is_killed(hosts: Two, phase: str, which: str) -> None:
    """One of the two runs then, and the caller is told which."""
    host = hosts.one if which == "source" else hosts.two
    pid = main_pid(host, AGENT)
    count(hosts.one, *LARGE)
    going = Going(hosts.one, "", hosts.second, of(hosts.one))
    going.until(phase)
    host.run(["kill", "-KILL", pid])
    code, reason = going.end()
    settle(hosts.hosts)
    assert hosts.where() == ((1, 0) if code else (0, 1)), (code, reason)
    ran = hosts.one if code else hosts.two
    assert "damaged" not in ran.journal(None, "_UID=1000")
