# SPDX-License-Identifier: Apache-2.0
"""Avahi fails on either of two hosts that are linked, and people who work there hardly notice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from hosts.client import main_pid, manager
from hosts.crowds import BIND
from hosts.devices import AGENT, UNIT, device_id, missionctl, state, wait_equal, wait_state
from hosts.held import Held
from hosts.lan import Lan, has_address
from hosts.machine import MANAGER, Host
from hosts.people import MISSIONS

pytestmark = pytest.mark.timeout(180, func_only=True)

AVAHI = "avahi-daemon.service"
SOCKET = "avahi-daemon.socket"
STRANGER = "c" * 64
"""Announced by a program of the second host's."""
ANNOUNCE = Path(__file__).parent / "inside/discover.py"
PATIENCE = 40.0
"""Seconds; mDNS takes its time to find out that something is gone."""
Linked = tuple[Host, Host]


@pytest.fixture(scope="module")
def linked(host_tree: Path) -> Iterator[Linked]:
    """They trust each other by their ids alone, and keep each other's missions."""
    with contextlib.ExitStack() as stack:
        lan = stack.enter_context(Lan())
        hosts = [stack.enter_context(Host(host_tree, lan=lan, options=BIND)) for _ in range(2)]
        for host in hosts:
            host.systemctl("start", "systemd-networkd.service", AVAHI)
        for host in hosts:
            host.wait_for(partial(has_address, host), 30)
            host.wait_active()
            missionctl(host, "peers", "enable")
            host.run(["tee", "/tmp/announce.py"], stdin=ANNOUNCE.read_text())
        one, two = hosts
        for here, there in ((one, two), (two, one)):
            missionctl(here, "peers", "trust", device_id(there), "sync")
        for here, there in ((one, two), (two, one)):
            wait_state(here, device_id(there), "connected")
            here.call(*MANAGER, MISSIONS, "StartSyncRemoteMissions", "sbi", device_id(there), "true", "0")
        yield one, two


@pytest.fixture(autouse=True)
def nothing_left(linked: Linked) -> Iterator[None]:
    """A test that fails leaves no load for the next, and no Avahi that hangs."""
    yield
    for host in linked:
        host.systemctl("kill", "--signal=CONT", AVAHI, check=False)
        host.systemctl("start", SOCKET, AVAHI)
        host.end_spawned()
        host.wait_for(partial(_unlocked, host))


def _unlocked(host: Host) -> bool:
    return host.locks() == []


def _stop(host: Host) -> None:
    host.systemctl("stop", SOCKET, AVAHI)
    _is_said(host, "no Avahi")


def _hang(host: Host) -> None:
    """A unit that starts meanwhile is the one that notices."""
    host.run(["kill", "-STOP", main_pid(host, AVAHI)])
    host.systemctl("restart", UNIT)
    _is_said(host, "Avahi fails")


def _restart(host: Host) -> None:
    host.systemctl("restart", AVAHI)


def _kill(host: Host) -> None:
    host.run(["kill", "-KILL", main_pid(host, AVAHI)])


FAULTS = {"stop": _stop, "hang": _hang, "restart": _restart, "kill": _kill}


def _is_said(host: Host, sentence: str) -> None:
    try:
        host.wait_for(lambda: sentence in manager(host, "Degraded"), 20)
    except TimeoutError:
        raise AssertionError(f"{manager(host, 'Degraded')}\n{host.journal(UNIT)}") from None
    for unit in (UNIT, AGENT):
        host.wait_for(lambda unit=unit: sentence in host.show(unit, "StatusText"))  # type: ignore[misc]


@pytest.mark.parametrize("which", [0, 1], ids=["here", "there"])
@pytest.mark.parametrize("how", FAULTS)
def test_avahi_fails(linked: Linked, how: str, which: int) -> None:
    one, two = linked
    first, second = device_id(one), device_id(two)
    two.spawn(["python3", "/tmp/announce.py", STRANGER, "stranger", "8637"], user="alice")
    wait_state(one, STRANGER, "discovered", PATIENCE)
    held = [Held(host) for host in linked]
    pids = [main_pid(host, AGENT) for host in linked]
    FAULTS[how](linked[which])
    if how == "stop":
        wait_state(one, STRANGER, "unknown", PATIENCE)
    if how != "hang":  # where the unit was restarted
        assert (state(one, second), state(two, first)) == ("connected", "connected")
    program = two.spawn(["missionctl", "run", "--title", "a program", "--", "sleep", "6000"], user="bob")
    wait_equal(one, two, 15)
    for each in held:
        each.reports()
    linked[which].systemctl("kill", "--signal=CONT", AVAHI, check=False)
    linked[which].systemctl("start", SOCKET, AVAHI)
    wait_state(one, STRANGER, "discovered", PATIENCE)
    wait_state(one, second, "connected", 5)
    wait_state(two, first, "connected", 5)
    program.close()
    for each in held:
        each.check()
    assert pids == [main_pid(host, AGENT) for host in linked]
    assert "Traceback" not in one.journal(UNIT) + two.journal(UNIT)
