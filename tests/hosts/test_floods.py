# SPDX-License-Identifier: Apache-2.0
"""One user asks for far too much: others are served, limits are told, and everything is given back.

MISSIOND_FLOOD_TASKS says how many tasks are asked for; more than 3000 take longer than the suites should.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hosts.client import main_pid, request, sleeper, start
from hosts.crowd.flood import APPS
from hosts.crowds import BIND, SERVICE, Beside, inside, open_fds, resident
from hosts.machine import Host

TASKS = int(os.environ.get("MISSIOND_FLOOD_TASKS", "3000"))
PER_USER = 1000
"""MaxTasksPerUser=, which is not changed here."""
OWNERS = 300
PATIENCE = 500.0
"""Ms that nobody waits; what is wanted is 50, which a machine with other work can't promise."""
GIVEN_BACK = 10.0
FREEZING = 10
"""Seconds."""
_FEW = "/etc/missiond/missiond.conf.d/few.conf"


@pytest.fixture(scope="module")
def crowded(host_tree: Path) -> Iterator[Host]:
    """A host with programs that mean no good."""
    with Host(host_tree, options=BIND) as host:
        host.wait_active()
        inside(host, "flood", "pipelined", "100")
        yield host


class Scales:
    """What the agent has, before and after a flood, and how bob fares meanwhile."""

    def __init__(self, host: Host, capsys: pytest.CaptureFixture[str]) -> None:
        self._host = host
        self._capsys = capsys
        self._probe = Beside(host, "probe", user="bob")
        self._pid = main_pid(host, SERVICE)
        self._fds = open_fds(host)
        self._kilobytes = resident(host)

    def flood(self, how: str, count: int, *arguments: str, patience: float = PATIENCE) -> dict[str, Any]:
        """Let alice do it; bob hardly notices."""
        self._probe.report()
        found: dict[str, Any] = inside(self._host, "flood", how, str(count), *arguments)
        bob = self._probe.report()
        with self._capsys.disabled():
            print(f"\n{how} {count}: alice {found}; bob {bob}; RSS {resident(self._host)} KiB")
        assert bob["errors"] == {}
        assert bob["p99"] < patience
        return found

    def given_back(self) -> None:
        """All of it, soon; by the same process."""
        begun = time.monotonic()
        self._host.wait_for(lambda: self._host.locks() == [], GIVEN_BACK)
        self._host.wait_for(lambda: open_fds(self._host) <= self._fds, GIVEN_BACK)
        took = time.monotonic() - begun
        with self._capsys.disabled():
            print(f"given back in {took:.2f} s; RSS {self._kilobytes} -> {resident(self._host)} KiB")
        assert main_pid(self._host, SERVICE) == self._pid
        log = self._host.journal(SERVICE)
        assert "Traceback" not in log
        assert "internal error" not in log


@pytest.fixture
def scales(crowded: Host, capsys: pytest.CaptureFixture[str]) -> Iterator[Scales]:
    """Weighed before, and after the test once more."""
    found = Scales(crowded, capsys)
    yield found
    crowded.end_spawned()
    found.given_back()


def test_ten_thousand_calls_at_once(scales: Scales) -> None:
    answers = scales.flood("pipelined", 10_000)["answers"]
    assert sum(answers.values()) == 10_000
    assert set(answers) <= {"", "LimitsExceeded", "TransactionFailed 9800003"}
    assert answers[""] >= 100


def test_long_answers_of_many_connections(scales: Scales) -> None:
    # a request asks logind as well, and each of the ways there and back is through a bus at its limit
    answers = scales.flood("documents", 72_000, patience=6 * PATIENCE)["answers"]
    assert sum(answers.values()) == 72_000
    assert set(answers) <= {"", "LimitsExceeded"}
    assert answers[""] >= 1000


def test_as_many_connections_as_there_may_be(scales: Scales) -> None:
    found = scales.flood("connections", 512)
    assert found["connections"] > 200
    assert set(found["answers"]) <= {"", "TransientTaskVerificationFailed 9900002"}
    assert found["answers"][""] == 3


def test_callers_that_are_gone_at_once(scales: Scales) -> None:
    assert scales.flood("vanish", 10_000)["vanished"] > 0


def test_messages_with_descriptors(scales: Scales) -> None:
    # the kernel drops what the agent does not take, and Ping has no arguments
    assert scales.flood("descriptors", 20_000)["answers"] == {"InvalidArgs": 20_000}


def test_subscribers_that_never_read(scales: Scales) -> None:
    assert scales.flood("deaf", 300)["answers"] == {"": 300}


def test_answers_that_nobody_reads(scales: Scales) -> None:
    scales.flood("listing", 3000)


def test_far_too_many_tasks(crowded: Host, scales: Scales) -> None:
    owner = sleeper(crowded)
    answers = scales.flood("tasks", TASKS, str(owner.pid))["answers"]
    assert answers == {
        "": PER_USER + 3,
        "ContinuousTaskVerificationFailed 9800005": TASKS - PER_USER,
        "TransientTaskVerificationFailed 9900002": TASKS // 10 - 3,
    }
    assert sum(f"(pid {owner.pid}, " in lock.who for lock in crowded.locks()) == PER_USER + 3
    owner.signal("KILL")


@pytest.fixture
def few_tasks(crowded: Host) -> Iterator[int]:
    """A host on which there may be so many tasks in all."""
    crowded.run(["mkdir", "-p", str(Path(_FEW).parent)])
    crowded.run(["tee", _FEW], stdin="[Limits]\nMaxTasks=100\n")
    crowded.systemctl("reload", SERVICE)
    yield 100
    crowded.run(["rm", _FEW])
    crowded.systemctl("reload", SERVICE)


def test_who_takes_all_tasks_leaves_some_for_others_and_for_root(
    crowded: Host, scales: Scales, few_tasks: int
) -> None:
    owner = sleeper(crowded)
    answers = scales.flood("tasks", 2 * few_tasks, str(owner.pid))["answers"]
    assert few_tasks // 3 <= answers[""] <= few_tasks // 2
    assert answers["MemoryFailed 9800001"] > few_tasks
    assert request(crowded, sleeper(crowded, "bob"), user="bob") > 0
    assert request(crowded, sleeper(crowded, None), user=None) > 0
    owner.signal("KILL")


@pytest.fixture
def apps(crowded: Host) -> Iterator[str]:
    """Alice's own control group."""
    crowded.systemctl("start", "user@1000.service")
    crowded.run(["mkdir", "-p", APPS], user="alice")
    yield APPS
    crowded.systemctl("stop", "user@1000.service")


def spent(host: Host) -> float:
    """Seconds of processor time that the agent has taken."""
    fields = host.run(["cat", f"/proc/{main_pid(host, SERVICE)}/stat"]).stdout.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_twenty_thousand_control_groups(
    crowded: Host, scales: Scales, apps: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = spent(crowded)
    assert scales.flood("groups", 20_000)["made"] == 20_000
    with capsys.disabled():
        print(f"the agent took {spent(crowded) - before:.1f} s of a processor")


def test_owners_that_are_frozen_in_a_loop(
    crowded: Host, scales: Scales, apps: str, capsys: pytest.CaptureFixture[str]
) -> None:
    owners = [sleeper(crowded) for _ in range(20)]
    for number, owner in enumerate(owners):
        group = f"{apps}/app-frozen-{number}.scope"
        crowded.run(["mkdir", group], user="alice")
        crowded.run(["tee", f"{group}/cgroup.procs"], stdin=str(owner.pid))
        start(crowded, owner, "taskKeeping", options=("context", "s", str(number)))
    before = spent(crowded)
    since = len(crowded.journal(SERVICE).splitlines())
    assert scales.flood("freeze", FREEZING)["groups"] == 20
    took = spent(crowded) - before
    lines = crowded.journal(SERVICE).splitlines()[since:]
    with capsys.disabled():
        print(f"the agent took {took:.1f} s of a processor; {len(lines)} lines in its log")
    assert took < FREEZING / 3
    assert len(lines) < 60
    crowded.wait_for(
        lambda: "1" not in crowded.run(["sh", "-c", f"cat {apps}/app-frozen-*/cgroup.freeze"]).stdout, 30
    )
    for owner in owners:
        owner.signal("KILL")


def test_many_owners_that_die_at_once(scales: Scales) -> None:
    assert scales.flood("herd", OWNERS)["answers"] == {"": OWNERS}
