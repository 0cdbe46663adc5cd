# SPDX-License-Identifier: Apache-2.0
"""missiond-peers.service on real hosts that share a network: off until wanted, found, linked, parted."""

from __future__ import annotations

import time

import pytest

from hosts.lan import Lan
from hosts.machine import Host

pytestmark = pytest.mark.timeout(180, func_only=True)

UNIT = "missiond-peers.service"
PEERS = ("org.missiond.Peers1", "/org/missiond/Peers1", "org.missiond.Peers1")
STATE = "/var/lib/missiond-peers"


def call(host: Host, member: str, *arguments: str) -> list[object]:
    """Call the unit as root, in the agent's place."""
    return host.call(*PEERS, member, *arguments)


def device_id(host: Host) -> str:
    """Of a host."""
    shown = host.busctl("get-property", *PEERS, "LocalDeviceId").stdout
    return shown.split('"')[1]


def state(host: Host, device: str) -> str:
    """What a host knows of a device."""
    [rows] = call(host, "ListPeers")
    assert isinstance(rows, list)
    return next((str(row[2]) for row in rows if row[0] == device), "unknown")


def wait_state(host: Host, device: str, wanted: str, timeout: float = 40.0) -> float:
    """Wait until a host knows that of a device; how long that took, in seconds."""
    start = time.monotonic()
    try:
        host.wait_for(lambda: state(host, device) == wanted, timeout)
    except TimeoutError:
        raise AssertionError(f"{state(host, device)}, not {wanted}:\n{host.journal(UNIT)}") from None
    return time.monotonic() - start


@pytest.fixture(scope="module")
def linked(pair: tuple[Lan, Host, Host]) -> tuple[Lan, Host, Host]:
    """The same with peers on, trusting each other by their ids alone."""
    _, one, two = pair
    for host in (one, two):
        host.systemctl("enable", "--now", UNIT)
    for here, there in ((one, two), (two, one)):
        call(here, "TrustDevice", "sa{sv}", device_id(there), "0")
    for here, there in ((one, two), (two, one)):
        wait_state(here, device_id(there), "connected")
    return pair


def test_it_is_off_until_somebody_wants_it(pair: tuple[Lan, Host, Host]) -> None:
    host = pair[1]
    assert host.systemctl("is-enabled", UNIT, check=False) == "disabled"
    assert host.show(UNIT, "ActiveState") == "inactive"
    assert host.run(["ls", STATE], check=False).returncode != 0
    assert ":8637" not in host.run(["cat", "/proc/net/tcp", "/proc/net/tcp6"]).stdout.replace(
        ":21BD", ":8637"
    )


def test_it_runs_as_a_user_of_its_own_without_privileges(linked: tuple[Lan, Host, Host]) -> None:
    host = linked[1]
    pid = host.show(UNIT, "MainPID")
    assert host.run(["stat", "--format=%U", f"/proc/{pid}"]).stdout == "missiond-peers\n"
    status = host.run(["cat", f"/proc/{pid}/status"]).stdout
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    shown = host.run(["stat", "--format=%a %U", STATE, f"{STATE}/identity.pem"]).stdout
    assert shown == "700 missiond-peers\n600 missiond-peers\n"
    assert host.show(UNIT, "NRestarts") == "0"
    assert "ignored" not in host.journal(UNIT)
    host.wait_for(lambda: "1 paired, 1 connected" in host.show(UNIT, "StatusText"))


def test_nobody_else_may_call_it(linked: tuple[Lan, Host, Host]) -> None:
    host = linked[1]
    refused = host.busctl("call", *PEERS, "ListPeers", user="alice", check=False)
    assert refused.returncode != 0
    assert "denied" in refused.stderr.lower()
    assert host.run(["cat", f"{STATE}/identity.pem"], user="alice", check=False).returncode != 0


def test_a_killed_unit_is_back_at_once(linked: tuple[Lan, Host, Host]) -> None:
    _, one, two = linked
    before = device_id(one)
    host_pid = one.show(UNIT, "MainPID")
    one.run(["kill", "-KILL", host_pid])
    one.wait_for(lambda: one.show(UNIT, "MainPID") not in ("0", host_pid))
    one.wait_active(UNIT)
    assert device_id(one) == before
    wait_state(one, device_id(two), "connected")
    wait_state(two, before, "connected")


def test_unpairing_ends_it_on_both_sides(linked: tuple[Lan, Host, Host]) -> None:
    _, one, two = linked
    first, second = device_id(one), device_id(two)
    call(one, "Unpair", "s", second)
    wait_state(two, first, "offline", 5)
    wait_state(one, second, "discovered")
    try:
        one.wait_for(lambda: "certificate verify failed" in one.journal(UNIT), 20)
    except TimeoutError:
        known = [call(host, "ListPeers") for host in (one, two)]
        raise AssertionError(f"{known}\n{one.journal(UNIT)}\n{two.journal(UNIT)}") from None
    # people pair them again
    call(two, "Unpair", "s", first)
    wait_state(two, first, "discovered")
    [code] = call(one, "RequestPairing", "s", second)
    assert isinstance(code, str)
    assert len(code) == 7
    call(one, "ConfirmPairing", "sb", second, "true")
    call(two, "ConfirmPairing", "sb", first, "true")
    wait_state(one, second, "connected")
    wait_state(two, first, "connected")
    for host in (one, two):
        assert "Traceback" not in host.journal(UNIT)


def test_it_can_be_turned_off_and_on(linked: tuple[Lan, Host, Host]) -> None:
    _, one, two = linked
    first, second = device_id(one), device_id(two)
    one.systemctl("disable", "--now", UNIT)
    wait_state(two, first, "offline", 5)
    assert one.show(UNIT, "Result") == "success"
    one.systemctl("enable", "--now", UNIT)
    wait_state(two, first, "connected", 5)
    wait_state(one, second, "connected", 5)


def test_after_ten_seconds_without_a_cable_they_meet_within_three(linked: tuple[Lan, Host, Host]) -> None:
    lan, one, two = linked
    lan.cable(one.name, plugged=False)
    time.sleep(10)  # as long as the cable is out
    lan.cable(one.name, plugged=True)
    for here, there in ((one, two), (two, one)):
        print(f"connected after {wait_state(here, device_id(there), 'connected', 5):.1f} s")
