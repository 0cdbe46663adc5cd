# SPDX-License-Identifier: Apache-2.0
"""Three hosts of both releases on one network: paired, in step, parted, killed in mid-sync, and unpaired.

Run once, with the hosts of trixie; the tests go on where the one before has ended.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
    state,
    wait_equal,
    wait_state,
)
from hosts.lan import Lan, has_address
from hosts.machine import MANAGER, Host
from hosts.people import MISSIONS, Terminal, missions
from hosts.signals import Signals
from hosts.trees import SUITES, tree

pytestmark = [
    pytest.mark.timeout(180, func_only=True),
    pytest.mark.skipif("trixie" not in SUITES, reason="run once, with the hosts of trixie"),
]

RELEASES = ("bookworm", "trixie", "bookworm")
CHURN = "while [ ! -e /tmp/enough ]; do sleep 2 & sleep 0.1; done; clear\n"
Three = tuple[Host, Host, Host]


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    """What they are on."""
    with Lan() as network:
        yield network


@pytest.fixture(scope="module")
def three(deb: Path, lan: Lan) -> Iterator[Three]:
    """Booted side by side, with peers on; the second is of the other release."""
    trees = {release: tree("host", release, deb) for release in set(RELEASES)}
    # the threads last: a host goes with the thread that it was booted by (PR_SET_PDEATHSIG in prctl(2))
    with ThreadPoolExecutor(len(RELEASES)) as pool, contextlib.ExitStack() as stack:
        booting = [pool.submit(Host, trees[release], lan=lan) for release in RELEASES]
        one, two, third = (stack.enter_context(each.result()) for each in booting)
        list(pool.map(_turn_on, (one, two, third)))
        yield one, two, third


def _turn_on(host: Host) -> None:
    host.systemctl("start", "systemd-networkd.service", "avahi-daemon.service")
    host.wait_for(lambda: has_address(host), 30)
    host.wait_active(AGENT)
    missionctl(host, "peers", "enable")


def both_ways(hosts: Sequence[Host]) -> Iterator[tuple[Host, Host]]:
    """Each of them with each other."""
    return itertools.permutations(hosts, 2)


def until_all_equal(hosts: Sequence[Host], seconds: float) -> float:
    """Wait until each has the list of each other, within so many seconds in all; how many it took."""
    began = time.monotonic()
    for here, there in both_ways(hosts):
        wait_equal(here, there, max(0.1, began + seconds - time.monotonic()))
    # all at one time: nothing of what was equal has become different since
    assert all(remote(here, device_id(there)) == rows(there) for here, there in both_ways(hosts))
    return time.monotonic() - began


def rows(host: Host) -> list[tuple[object, ...]]:
    return [tuple(mission) for mission in missions(host, None)]


def call(host: Host, interface: str, member: str, *arguments: str) -> list[object]:
    return host.call(*MANAGER, interface, member, *arguments)


def begin(label: str, *hosts: Host) -> None:
    """Start a program of alice's on each, and wait until it is a mission there."""
    for host in hosts:
        start(host, label)
    for host in hosts:
        host.wait_for(lambda host=host: label in [row[1] for row in rows(host)])  # type: ignore[misc]


@contextlib.contextmanager
def changing(*hosts: Host) -> Iterator[None]:
    """On these hosts about ten programs a second begin and end."""
    with contextlib.ExitStack() as stack:
        for host in hosts:
            host.run(["rm", "-f", "/tmp/enough"])
            terminal = Terminal(host, "t")
            stack.callback(host.run, ["rm", "-f", "/tmp/keys-t"])
            stack.callback(terminal.close)
            terminal.type(CHURN)
        yield
        for host in hosts:
            host.run(["touch", "/tmp/enough"])


def until_changing(here: Host, there: Host) -> None:
    """Wait until one sees the other's list change."""
    device = device_id(there)
    before = remote(here, device)
    here.wait_for(lambda: remote(here, device) != before)


def test_pairing_with_missionctl_at_one_and_busctl_at_the_other(three: Three) -> None:
    one, two, third = three
    for here, there in both_ways(three):
        wait_state(here, device_id(there), "discovered")
    for here, there in ((one, two), (third, one), (third, two)):
        asked = there.spawn(["missionctl", "peers", "pair"])
        assert asked.stdout.readline().startswith("Waiting")
        requests = Signals(there)
        [code] = call(here, PEERS, "RequestPairing", "s", device_id(there))
        shown = CODE.search(asked.stdout.readline())
        heard = requests.wait("PairingRequested")
        assert shown is not None
        assert (heard.body[0], heard.body[2], shown[1]) == (device_id(here), code, code)
        call(here, PEERS, "ConfirmPairing", "sb", device_id(there), "true")
        asked.stdin.write("y\n")
        assert any("Paired with" in line for line in iter(asked.stdout.readline, ""))
        assert asked.wait() == 0
    for here, there in both_ways(three):
        wait_state(here, device_id(there), "connected")


def test_each_sees_the_missions_of_the_others(three: Three) -> None:
    listeners = {}
    for here, there in both_ways(three):
        listeners[here, there] = listener = Listener(here, device_id(there))
        listener.until("ready")
    for host in three:
        start(host, f"first of {host.name}")
    for (_, there), listener in listeners.items():
        listener.until("changed", f"first of {there.name}")
        listener.close()
    until_all_equal(three, 5)


def test_ten_seconds_without_a_cable(lan: Lan, three: Three) -> None:
    one, two, third = three
    lan.cable(two.name, plugged=False)
    pulled = time.monotonic()
    begin("while it was out", *three)
    wait_equal(one, third, 5)
    wait_equal(third, one, 5)
    assert len(remote(one, device_id(third))) == 2
    time.sleep(max(0.0, pulled + 10 - time.monotonic()))  # as long as the cable is out
    lan.cable(two.name, plugged=True)
    print(f"equal {until_all_equal(three, 5):.1f} s after a partition of 10 s")
    assert all(len(remote(here, device_id(there))) == 2 for here, there in both_ways(three))


@pytest.mark.parametrize("unit", [AGENT, UNIT])
@pytest.mark.parametrize("which", [0, 1], ids=RELEASES[:2])
def test_killed_in_mid_sync(three: Three, which: int, unit: str) -> None:
    """While lists change on all hosts; nobody has to help afterwards."""
    host, other = three[which], three[1 - which]
    with changing(*three):
        until_changing(host, other)
        until_changing(other, host)
        pid = main_pid(host, unit)
        host.run(["kill", "-KILL", pid])
        host.wait_for(lambda: host.show(unit, "MainPID") not in ("0", pid))
        host.wait_active(unit)
    label = f"after {unit} of {host.name}"
    begin(label, host, other)
    print(f"equal {until_all_equal(three, 15):.1f} s after the end of all changes")
    for here, there in both_ways(three):
        assert (label in [row[1] for row in remote(here, device_id(there))]) == (there is not three[2])


def test_ids_that_are_wrong(three: Three) -> None:
    """As programs would get them wrong; nothing of it changes who is connected."""
    one, two, _ = three
    known = device_id(two)
    for wrong in ("x", known[:-1], known.upper(), device_id(one), "ab" * 32):
        for interface, member, *more in (
            (MISSIONS, "StartSyncRemoteMissions", "sbi", wrong, "true", "0"),
            (MISSIONS, "StopSyncRemoteMissions", "s", wrong),
            (MISSIONS, "RegisterMissionListener", "s", wrong),
            (MISSIONS, "GetMissionInfos", "su", wrong, "9"),
            (PEERS, "RequestPairing", "s", wrong),
            (PEERS, "ConfirmPairing", "sb", wrong, "true"),
            (PEERS, "Unpair", "s", wrong),
        ):
            refused = one.busctl("call", *MANAGER, interface, member, *more, check=False)
            assert "401: " in refused.stderr, (member, wrong, refused)
    # nobody asked for it
    refused = one.busctl("call", *MANAGER, PEERS, "ConfirmPairing", "sb", known, "true", check=False)
    assert "401: " in refused.stderr
    assert state(one, known) == "connected"


def test_unpairing_cuts_the_link_at_once(three: Three) -> None:
    one, _, third = three
    first, last = device_id(one), device_id(third)
    listener = Listener(one, last)
    listener.until("ready")
    call(third, PEERS, "Unpair", "s", first)
    assert wait_state(one, last, "offline", 5) < 2
    listener.until("disconnected")
    listener.close()
    begin("a secret", third)
    until_all_equal((one, three[1]), 5)
    wait_equal(three[1], third, 5)
    refused = third.busctl("call", *MANAGER, MISSIONS, "GetMissionInfos", "su", first, "9", check=False)
    assert "401: " in refused.stderr
    refused = one.busctl("call", *MANAGER, MISSIONS, "GetMissionInfos", "su", last, "9", check=False)
    assert "16300501: " in refused.stderr
    call(one, PEERS, "Unpair", "s", last)
    assert wait_state(one, last, "discovered", 5) < 2


def test_avahi_goes_and_comes(three: Three) -> None:
    """Links stay, strangers are lost sight of and found again."""
    one, two, third = three
    pids = [main_pid(host, UNIT) for host in three]
    third.systemctl("stop", "avahi-daemon.socket", "avahi-daemon.service")
    wait_state(one, device_id(third), "unknown")
    wait_state(third, device_id(one), "unknown")
    assert "no Avahi" in third.show(UNIT, "StatusText")
    assert state(two, device_id(third)) == state(third, device_id(two)) == "connected"
    third.systemctl("start", "avahi-daemon.service")
    one.systemctl("restart", "avahi-daemon.service")
    wait_state(one, device_id(third), "discovered")
    wait_state(third, device_id(one), "discovered")
    begin("still told of", third)
    wait_equal(two, third, 5)
    assert pids == [main_pid(host, UNIT) for host in three]


def test_nothing_went_wrong_inside(three: Three) -> None:
    for host, unit in itertools.product(three, (AGENT, UNIT)):
        journal = host.journal(unit)
        for sign in ("Traceback", "internal error", "never awaited", "was never retrieved"):
            assert sign not in journal, journal
