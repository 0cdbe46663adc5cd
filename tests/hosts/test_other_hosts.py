# SPDX-License-Identifier: Apache-2.0
"""Two hosts as people meet them: missionctl, codes, missions of the other one, and what may go wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from hosts.client import main_pid
from hosts.devices import (
    AGENT,
    CODE,
    PEERS,
    UNIT,
    Listener,
    device_id,
    missionctl,
    remote,
    start,
    wait_equal,
    wait_state,
)
from hosts.lan import Lan
from hosts.machine import MANAGER, Host
from hosts.people import MISSIONS
from hosts.readme import alike, session

pytestmark = pytest.mark.timeout(240, func_only=True)


ENABLE, ASKED, ASKING, LISTED, WATCHED = session("Several hosts")
"""What the README shows is run as it stands there, on hosts of these names."""


def printed(lines: list[str]) -> list[str]:
    """What a command printed, in the README's words."""
    return [alike(line) for line in lines]


@pytest.fixture(scope="module")
def enabled(pair: tuple[Lan, Host, Host]) -> tuple[Lan, Host, Host]:
    """With peers on, as an administrator turns them on."""
    for host, name in zip(pair[1:], (ASKING.host, ASKED.host), strict=True):
        host.wait_active(AGENT)
        host.run(["hostnamectl", "set-hostname", name])
        shown = host.run(ENABLE.command).stdout
        assert f"This host is {device_id(host)}.\n" in shown
        assert printed(shown.splitlines()) == printed(ENABLE.prints)
    return pair


@pytest.fixture(scope="module")
def paired(enabled: tuple[Lan, Host, Host]) -> tuple[Lan, Host, Host]:
    """Paired by people at both, who are shown one code."""
    _, one, two = enabled
    first, second = device_id(one), device_id(two)
    wait_state(one, second, "discovered")
    wait_state(two, first, "discovered")
    asked = two.spawn(ASKED.command)
    assert [asked.stdout.readline().strip()] == ASKED.prints
    asking = one.spawn(ASKING.command)
    codes = []
    for process in (asking, asked):
        line = process.stdout.readline()
        found = CODE.search(line)
        assert found is not None
        codes.append(found[1])
        assert process is asked or alike(line) == alike(ASKING.prints[0])
        process.stdin.write("y\n")
    assert codes[0] == codes[1]
    question = ASKING.prints[1].removesuffix("y")
    for process in (asking, asked):
        lines = list(iter(process.stdout.readline, ""))
        assert lines[0].startswith(question)
        assert any("Paired with" in line for line in lines)
        assert process.wait() == 0
    for here, there in ((one, second), (two, first)):
        wait_state(here, there, "connected")
    return enabled


@pytest.fixture
def listener(paired: tuple[Lan, Host, Host]) -> Iterator[Listener]:
    """On the first host, listening to the second."""
    _, one, two = paired
    made = Listener(one, device_id(two))
    made.until("ready")
    yield made
    made.close()


def test_off_until_somebody_wants_it(pair: tuple[Lan, Host, Host]) -> None:
    host = pair[1]
    host.wait_active(AGENT)
    refused = host.run(["missionctl", "peers"], user="alice", check=False)
    assert (refused.returncode, "missionctl peers enable" in refused.stderr) == (1, True)
    assert "peers: off" in host.show(AGENT, "StatusText")
    assert missionctl(host, "status").splitlines()[-1].split() == ["Degraded:", "no"]


def test_who_may_ask_whom(enabled: tuple[Lan, Host, Host]) -> None:
    """Everybody may see peers; the rest is for root, the agent and the peer unit."""
    _, one, _ = enabled
    missionctl(one, "peers", user="alice")
    sharing = [*MANAGER, "org.missiond.Agent1.Sharing", "Subscribe"]
    for user, allowed in (("alice", False), ("missiond-peers", True), (None, True)):
        done = one.run(["busctl", "call", *sharing], user=user, check=False)
        assert (done.returncode == 0) == allowed, (user, done.stderr)
    direct = ["org.missiond.Peers1", "/org/missiond/Peers1", "org.missiond.Peers1", "ListPeers"]
    for user, allowed in (("alice", False), ("missiond", True), (None, True)):
        assert (one.run(["busctl", "call", *direct], user=user, check=False).returncode == 0) == allowed
    for member in ("TrustDevice", "Unpair"):
        arguments = ["sa{sv}", "c" * 64, "0"] if member == "TrustDevice" else ["s", "c" * 64]
        denied = one.busctl("call", *MANAGER, PEERS, member, *arguments, user="alice", check=False)
        assert "201: " in denied.stderr
    # the unit's place as the subscriber was taken by root's call above; it takes it again when it starts
    one.systemctl("restart", UNIT)
    one.wait_active(UNIT)


def test_what_the_readme_shows_of_paired_hosts(paired: tuple[Lan, Host, Host]) -> None:
    """The addresses are other ones here."""
    _, one, two = paired
    lines = one.run(LISTED.command, user="alice").stdout.splitlines()
    shown = [[alike(word) for word in line.split()[:4]] for line in (*lines, *LISTED.prints)]
    assert shown[: len(lines)] == shown[len(lines) :]
    start(two, "seen from afar")
    watching = one.spawn(WATCHED.command)
    assert any("seen from afar" in line for line in iter(watching.stdout.readline, ""))
    watching.close()


def test_missions_of_the_other_host(paired: tuple[Lan, Host, Host], listener: Listener) -> None:
    _, one, two = paired
    start(two, "first program")
    listener.until("changed", "first program")
    device = device_id(two)
    mission = next(row for row in remote(one, device) if row[1] == "first program")
    (info,) = one.call(*MANAGER, MISSIONS, "GetMissionInfo", "su", device, str(mission[0]))
    assert info["argv"]["data"] == []
    assert "6000" not in json.dumps(info)
    (snapshot,) = one.call(*MANAGER, MISSIONS, "GetMissionSnapshot", "su", device, str(mission[0]))
    assert snapshot["memory"]["data"] > 0
    name = two.run(["hostname"]).stdout.strip()
    assert "first program" in missionctl(one, "missions", "--on", name)
    assert "first program" in missionctl(one, "missions", "--all")
    denied = one.busctl(
        "call", *MANAGER, MISSIONS, "GetMissionInfos", "su", device, "9", user="alice", check=False
    )
    assert "201: " in denied.stderr
    wait_equal(one, two, 5)


def test_a_cable_that_is_pulled_out(paired: tuple[Lan, Host, Host], listener: Listener) -> None:
    """10 s without it; within 5 s of its return the lists are equal, and nobody had to ask for that."""
    lan, one, two = paired
    lan.cable(two.name, plugged=False)
    pulled = time.monotonic()
    start(two, "while it was out")
    time.sleep(max(0.0, 10 - (time.monotonic() - pulled)))  # as long as the cable is out
    lan.cable(two.name, plugged=True)
    wait_equal(one, two, 5)
    listener.until("changed", "while it was out")


def test_a_disconnect_is_told_to_those_who_listen(paired: tuple[Lan, Host, Host], listener: Listener) -> None:
    _, one, two = paired
    two.systemctl("restart", UNIT)
    listener.until("disconnected")
    listener.until("changed")
    wait_equal(one, two, 10)


@pytest.mark.parametrize("which", ["agent here", "unit here", "agent there", "unit there"])
def test_a_daemon_that_is_killed(paired: tuple[Lan, Host, Host], listener: Listener, which: str) -> None:
    _, one, two = paired
    host = one if which.endswith("here") else two
    unit = AGENT if which.startswith("agent") else UNIT
    pid = main_pid(host, unit)
    host.run(["kill", "-KILL", pid])
    label = f"after the {which}"
    start(two, label)
    host.wait_for(lambda: host.show(unit, "MainPID") not in ("0", pid))
    host.wait_active(unit)
    listener.until("changed", label)
    wait_equal(one, two, 10)


def name_of(host: Host, device: str) -> str:
    """What a host calls a device."""
    (rows,) = host.call(*MANAGER, PEERS, "ListPeers")
    return next(str(row[1]) for row in rows if row[0] == device)


def test_a_host_that_is_renamed(paired: tuple[Lan, Host, Host]) -> None:
    _, one, two = paired
    before, device = two.run(["hostname"]).stdout.strip(), device_id(two)
    two.run(["hostnamectl", "set-hostname", "desk-new"])
    two.wait_for(lambda: "desk-new" in two.busctl("get-property", *MANAGER, PEERS, "LocalDeviceName").stdout)
    one.wait_for(lambda: name_of(one, device) == "desk-new")
    missionctl(one, "missions", "--on", "desk-new")
    # nobody tells of this one; it is looked for when a connection begins, at most twice a minute
    two.run(["hostname", "desk-newer"])
    one.systemctl("restart", UNIT)
    one.wait_for(lambda: name_of(one, device) == "desk-newer", 50)
    two.run(["hostnamectl", "set-hostname", before])
    one.wait_for(lambda: name_of(one, device) == before)


def test_unpaired(paired: tuple[Lan, Host, Host], listener: Listener) -> None:
    _, one, two = paired
    first, second = device_id(one), device_id(two)
    missionctl(one, "peers", "unpair", second[:8])
    listener.until("disconnected")
    wait_state(two, first, "offline")
    refused = one.busctl("call", *MANAGER, MISSIONS, "GetMissionInfos", "su", second, "9", check=False)
    assert "401: " in refused.stderr
    # by programs, this time: the ids are known for sure
    for here, there in ((one, second), (two, first)):
        missionctl(here, "peers", "trust", there, "sync", "--name", "the other")
    wait_state(one, second, "connected")
    assert "the other" in missionctl(one, "peers")


def test_off_again(paired: tuple[Lan, Host, Host]) -> None:
    _, one, two = paired
    first, second = device_id(one), device_id(two)
    path = f"/org/missiond/Agent1/peer/{second}"
    assert path in one.busctl("tree", "org.missiond.Agent1").stdout
    missionctl(one, "peers", "disable")
    one.wait_for(lambda: "peers: off" in one.show(AGENT, "StatusText"))
    assert path not in one.busctl("tree", "org.missiond.Agent1").stdout
    wait_state(two, first, "offline")
    for host in (one, two):
        for unit in (AGENT, UNIT):
            assert "Traceback" not in host.journal(unit)
            assert "internal error" not in host.journal(unit)
