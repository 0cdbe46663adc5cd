# SPDX-License-Identifier: Apache-2.0
"""The version before: an upgrade from it keeps everything, and the two speak with each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts.client import request, sleeper, start
from hosts.continuing import COUNTER, Going, count, counted, listed, of, settle, wait
from hosts.devices import AGENT, UNIT, wait_equal, wait_state
from hosts.devices import start as copy
from hosts.lan import Lan
from hosts.machine import MANAGER, Host
from hosts.old_version import OldVersion, build, missing
from hosts.people import MISSIONS, Mission, missions
from hosts.trees import tree
from hosts.two import Two, befriended, on_the_network

TESTS = Path(__file__).parents[1]
pytestmark = pytest.mark.timeout(240, func_only=True)
LARGE = ("--state", "20000000")
_INSTALL = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes", "--reinstall"]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> OldVersion:
    """The version before; without the history there is none."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    return build(tmp_path_factory.mktemp("old"))


@pytest.fixture(scope="module")
def old_tree(suite: str, old: OldVersion) -> Path:
    """A tree that has it installed."""
    return tree("host", suite, old.deb)


def upgrade(host: Host) -> None:
    """Install the package under test over the one before."""
    host.run([*_INSTALL, "/mnt/missiond_1_all.deb"], timeout=180)
    host.wait_active()


def bound(deb: Path) -> list[str]:
    """The option that shows a host the package under test."""
    return [f"--bind-ro={deb}:/mnt/missiond_1_all.deb"]


def quiet(*hosts: Host) -> None:
    """No daemon of the hosts met what it did not expect."""
    for host in hosts:
        for unit in (AGENT, UNIT):
            assert "Traceback" not in host.journal(unit)
            assert "internal error" not in host.journal(unit)


def test_live_tasks_missions_and_scores_stay(old_tree: Path, deb: Path) -> None:
    with Host(old_tree, options=bound(deb)) as host:
        host.wait_active()
        owner = sleeper(host)
        number = request(host, owner)
        task = start(host, owner, "dataTransfer")
        copy(host, "Copy")
        host.wait_for(lambda: labelled(host, "Copy"))
        [mission] = labelled(host, "Copy")
        host.call(*MANAGER, MISSIONS, "LockMission", "u", str(mission.id))
        locks = held(host)
        score = f"/proc/{owner.pid}/oom_score_adj"
        lowered = host.run(["cat", score]).stdout
        [quota, _requests] = host.tasks("GetTransientTaskInfo", user="alice")
        assert len(locks) == 3
        assert int(lowered) < 500
        upgrade(host)
        assert host.systemctl("is-enabled", "dbus-org.missiond.Agent1.service") == "alias"
        assert held(host) == locks
        assert host.run(["cat", score]).stdout == lowered
        host.wait_for(lambda: labelled(host, "Copy"))
        assert labelled(host, "Copy") == [mission._replace(locked=True)]
        [left, requests] = host.tasks("GetTransientTaskInfo", user="alice")
        assert [row[0] for row in requests] == [number]
        assert left <= quota
        assert request(host, owner) > number
        assert start(host, sleeper(host, "bob"), "voip", user="bob") > task
        owner.signal("KILL")
        host.wait_for(lambda: len(host.locks()) == 2)  # bob's, and that of the copy
        quiet(host)


def held(host: Host) -> list[tuple[str, str, str]]:
    """The locks, without the titles, which the version before told everybody."""
    return sorted((lock.what, lock.who, lock.why.partition(" (")[0]) for lock in host.locks())


def labelled(host: Host, label: str) -> list[Mission]:
    """Alice's missions of that label."""
    return [mission for mission in missions(host) if mission.label == label]


@pytest.fixture(scope="module")
def mixed(old: OldVersion, old_tree: Path, host_tree: Path) -> Iterator[Two]:
    """One host of the version before, and one of this."""
    with Lan() as lan, Host(old_tree, lan=lan) as one, Host(host_tree, lan=lan) as two:
        on_the_network(one, two)
        yield befriended(lan, one, two, (old.source / "tests", TESTS))


def test_the_two_versions_speak_with_each_other(mixed: Two) -> None:
    """Lists stay in sync, and a mission goes there and back, asked for at either of them."""
    first = count(mixed.one, *LARGE)
    for _ in range(2):
        seen = int(first.stdout.readline())
    for here, there in ((mixed.one, mixed.second), (mixed.two, mixed.first)):
        here.spawn(["missionctl", "missions", "--on", there, "--watch"])
    wait_equal(mixed.two, mixed.one, 10)
    wait_equal(mixed.one, mixed.two, 10)
    for asked in mixed.hosts:
        mission = of(mixed.one)
        assert Going(asked, mixed.first, mixed.second, mission).end() == (0, "")
        assert mixed.where() == (0, 1)
        wait(mixed.two, lambda: counted(mixed.two), "no count")
        assert counted(mixed.two)[0] >= seen
        settle(mixed.hosts)
        mission = of(mixed.two)
        assert Going(asked, mixed.second, mixed.first, mission).end() == (0, "")
        assert mixed.where() == (1, 0)
        settle(mixed.hosts)
    quiet(*mixed.hosts)


def test_a_hand_over_that_is_under_way(old: OldVersion, old_tree: Path, deb: Path) -> None:
    """Begun by the version before, interrupted, and ended by this one; trust stays as well."""
    options = bound(deb)
    with (
        Lan() as lan,
        Host(old_tree, lan=lan, options=options) as one,
        Host(old_tree, lan=lan, options=options) as two,
    ):
        on_the_network(one, two)
        both = befriended(lan, one, two, (old.source / "tests", old.source / "tests"))
        count(one, *LARGE)
        going = Going(one, both.first, both.second, of(one))
        going.until("stopping")
        lan.cable(two.name, plugged=False)
        wait(one, lambda: listed(one), "nothing under way")
        for host in both.hosts:
            upgrade(host)
            host.wait_active(UNIT)
            host.run(["tee", COUNTER], stdin=(TESTS / "standins/programs/counter.py").read_text())
        lan.cable(two.name, plugged=True)
        wait_state(one, both.second, "connected")
        settle(both.hosts)
        assert sorted(both.where()) == [0, 1]
        ran = next(host for host, runs in zip(both.hosts, both.where(), strict=True) if runs)
        assert of(ran, COUNTER)
        quiet(*both.hosts)
