# SPDX-License-Identifier: Apache-2.0
"""missiond-peers.service on real hosts that share a network: off until wanted, found, linked, parted."""

from __future__ import annotations

import subprocess
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


def degraded(host: Host) -> str:
    """What the agent says is missing."""
    manager = ("org.missiond.Agent1", "/org/missiond/Agent1", "org.missiond.Agent1.Manager")
    return host.busctl("get-property", *manager, "Degraded").stdout


def write(host: Host, path: str, text: str) -> None:
    """Put a file there."""
    host.run(["sh", "-c", 'mkdir -p "$(dirname "$1")" && printf %s "$2" > "$1"', "sh", path, text])


def ip(host: Host, *arguments: str) -> str:
    """Run this machine's ip(8) in the network of a host."""
    command = ["nsenter", "-t", str(host.leader), "-n", "ip", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout


def _addresses(host: Host) -> list[str]:
    words = ip(host, "-4", "-br", "addr", "show", "host0").split()
    return [word.partition("/")[0] for word in words if "/" in word]


def test_an_address_that_is_not_there_keeps_nothing_from_working(linked: tuple[Lan, Host, Host]) -> None:
    """As that of a tunnel that is down: it is listened on as soon as it is there."""
    _, one, two = linked
    one.wait_for(lambda: _addresses(one), 30)  # a link-local one is asked for first, and again after a cut
    [here, *_] = _addresses(one)
    write(one, "/etc/missiond/missiond.conf.d/50-listen.conf", f"[Peers]\nListen={here} 10.99.0.5\n")
    one.systemctl("restart", UNIT)
    assert one.show(UNIT, "NRestarts") == "0"
    one.run(["python3", "-c", f"import socket; socket.create_connection(('{here}', 8637), 5)"])
    one.wait_for(lambda: "10.99.0.5:8637" in degraded(one))
    wait_state(one, device_id(two), "connected")
    ip(one, "addr", "add", "10.99.0.5/24", "dev", "host0")
    one.wait_for(lambda: "10.99.0.5" not in degraded(one))
    one.run(["python3", "-c", "import socket; socket.create_connection(('10.99.0.5', 8637), 5)"])
    ip(one, "addr", "del", "10.99.0.5/24", "dev", "host0")
    one.run(["rm", "/etc/missiond/missiond.conf.d/50-listen.conf"])
    one.systemctl("restart", UNIT)


def test_a_damaged_key_is_said_and_starts_no_loop(linked: tuple[Lan, Host, Host]) -> None:
    host = linked[1]
    host.run(["cp", "-p", f"{STATE}/identity.pem", "/root/identity.pem"])
    host.run(["truncate", "--size=20", f"{STATE}/identity.pem"])
    host.systemctl("restart", UNIT, check=False)
    host.wait_for(lambda: host.show(UNIT, "ActiveState") == "failed")
    assert host.show(UNIT, "NRestarts") == "0"
    said = host.run(["missionctl", "peers"], check=False).stderr
    assert "failed: see" in said
    assert "are off" not in said
    host.wait_for(lambda: "failed: see" in degraded(host))
    host.run(["cp", "-p", "/root/identity.pem", f"{STATE}/identity.pem"])
    host.systemctl("reset-failed", UNIT)
    host.systemctl("start", UNIT)
    host.wait_active(UNIT)
    host.wait_for(lambda: "failed" not in degraded(host))


def test_a_copy_on_another_machine_is_another_host(linked: tuple[Lan, Host, Host]) -> None:
    _, one, two = linked
    before, there = device_id(one), device_id(two)
    call(one, "SetPeerPermissions", "sas", there, "2", "sync", "continue")
    machine = one.run(["cat", "/etc/machine-id"]).stdout
    one.systemctl("stop", UNIT)
    write(one, "/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    one.systemctl("start", UNIT)
    one.wait_active(UNIT)
    assert device_id(one) != before
    assert state(one, there) in ("unknown", "discovered")
    assert one.run(["ls", f"{STATE}/copied-1"]).stdout.split() == ["identity.pem", "peers"]
    # and back, as it was
    one.systemctl("stop", UNIT)
    write(one, "/etc/machine-id", machine)  # by which the journal is found, too
    assert "came from another machine" in one.journal(UNIT)
    one.run(
        ["sh", "-c", f"cd {STATE} && rm -rf identity.pem peers machine && mv copied-1/* . && rmdir copied-1"]
    )
    one.systemctl("start", UNIT)
    one.wait_active(UNIT)
    assert device_id(one) == before
    wait_state(one, there, "connected")
    call(one, "SetPeerPermissions", "sas", there, "1", "sync")
