# SPDX-License-Identifier: Apache-2.0
"""Devices find each other with the real Avahi, on two hosts that share a network."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hosts.lan import Lan
from hosts.machine import Host

pytestmark = pytest.mark.timeout(180, func_only=True)

A, B = "a" * 64, "b" * 64
PROGRAM = Path(__file__).parent / "inside/discover.py"
PATIENCE = 40.0
"""Seconds; mDNS takes its time to find out that something is gone."""
KNOCK = """\
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), 5)
except ConnectionRefusedError:
    print("reached")
"""
LIAR = """\
<?xml version="1.0" standalone='no'?>
<!DOCTYPE service-group SYSTEM "avahi-service.dtd">
<service-group><name>a liar</name><service><type>_missiond._tcp</type><port>1</port>
<txt-record>id={}</txt-record></service></service-group>
"""


class Discovery:
    """The program on one host: what it found so far, source by source."""

    def __init__(self, host: Host, device: str, name: str) -> None:
        host.run(["tee", "/tmp/discover.py"], stdin=PROGRAM.read_text())
        self._process = host.spawn(["python3", "/tmp/discover.py", device, name, "8637"], user="alice")
        self._lines: queue.Queue[list[Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.sources: dict[str, dict[str, tuple[str, int]]] = {}
        self.states: list[str | None] = []

    def _read(self) -> None:
        for line in self._process.stdout:
            self._lines.put(json.loads(line))

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Take in what it says until that holds."""
        while not condition():
            try:
                self._take(self._lines.get(timeout=PATIENCE))
            except queue.Empty:
                raise AssertionError(f"not {what}: {self.sources}, {self.states}") from None

    def waits(self) -> bool:
        """Whether it said something that was not taken in."""
        return not self._lines.empty()

    def take(self) -> None:
        """Take in one thing that it says."""
        try:
            self._take(self._lines.get(timeout=1))
        except queue.Empty:
            return

    def _take(self, event: list[Any]) -> None:
        kind, *words = event
        if kind == "state":
            self.states.append(words[0])
        elif kind == "found":
            device, source, address, port = words
            self.sources.setdefault(device, {})[source] = (address, port)
        else:
            device, source = words
            del self.sources[device][source]
            if not self.sources[device]:
                del self.sources[device]

    def addresses(self, device: str) -> list[str]:
        """Where it says that a device is."""
        return [address for address, _ in self.sources.get(device, {}).values()]

    def claims(self, device: str) -> list[str]:
        """Sources of it that are the liar's."""
        return [source for source in self.sources.get(device, {}) if "a liar" in source]

    def versions(self, device: str) -> set[int]:
        """Of IP, over which it sees a device."""
        return {ipaddress.ip_address(address.partition("%")[0]).version for address in self.addresses(device)}

    def is_without(self) -> bool:
        """Whether it knows that there is no Avahi."""
        return "no Avahi" in str(self.states[-1:])

    def is_well(self) -> bool:
        """Whether it announces its host."""
        return self.states[-1:] == [None]

    def close(self) -> None:
        """End the program as its user would; harmless when done twice."""
        self._process.stdin.close()
        self._process.wait()
        self._reader.join(timeout=5)


Discover = Callable[[Host, str, str], Discovery]


@pytest.fixture
def discover(pair: tuple[Lan, Host, Host]) -> Iterator[Discover]:
    """Starts the program on a host; ends what is left of it."""
    for host in pair[1:]:
        host.systemctl("start", "avahi-daemon.service")
    with contextlib.ExitStack() as stack:

        def start(host: Host, device: str, name: str) -> Discovery:
            discovery = Discovery(host, device, name)
            stack.callback(discovery.close)
            return discovery

        yield start


def test_each_host_has_an_identity_and_addresses_of_its_own(pair: tuple[Lan, Host, Host]) -> None:
    _, one, two = pair
    for file in ("/etc/machine-id", "/proc/sys/kernel/hostname"):
        shown = [host.run(["cat", file]).stdout for host in (one, two)]
        assert shown[0] != shown[1]


def test_found_over_both_protocols_until_it_leaves(pair: tuple[Lan, Host, Host], discover: Discover) -> None:
    _, one, two = pair
    first, second = discover(one, A, "one"), discover(two, B, "two")
    first.until(lambda: first.versions(B) == {4, 6}, "found over IPv4 and IPv6")
    second.until(lambda: second.versions(A) == {4, 6}, "found over IPv4 and IPv6")
    for address in first.addresses(B):
        assert address.startswith(("169.254.", "fe80::"))
        # what was found can be reached: the neighbour's own stack answers there
        assert one.python(KNOCK, address) == "reached\n"
    assert A not in first.sources
    second.close()
    first.until(lambda: B not in first.sources, "gone with its program")


def test_same_name_on_both_hosts(pair: tuple[Lan, Host, Host], discover: Discover) -> None:
    _, one, two = pair
    # devices of their own: what is still cached of the former test's is none of these
    a, b = "c" * 64, "d" * 64
    first, second = discover(one, a, "twin"), discover(two, b, "twin")

    def told_apart() -> bool:
        if not first.versions(b) == second.versions(a) == {4, 6}:
            return False
        # who has to give way is Avahi's to say; where both announce at once, both do: #2 and #3
        names = [
            {source.split("/")[2] for source in sources} for sources in (second.sources[a], first.sources[b])
        ]
        return names[0] != names[1]

    # whenever one gives way: both take in what is said until it is settled
    deadline = time.monotonic() + PATIENCE
    while not told_apart() and time.monotonic() < deadline:
        (first if first.waits() else second).take()
    assert told_apart(), (first.sources, second.sources, first.states, second.states)


def test_avahi_restarts_on_either_side(pair: tuple[Lan, Host, Host], discover: Discover) -> None:
    _, one, two = pair
    first, second = discover(one, A, "one"), discover(two, B, "two")
    for host in (one, two):
        first.until(lambda: B in first.sources, "found")
        second.until(lambda: A in second.sources, "found")
        pid = host.show("avahi-daemon.service", "MainPID")
        assert int(pid) > 1
        host.run(["kill", "-KILL", pid])
        lost = first if host is one else second
        lost.until(lost.is_without, "without the daemon")
        assert lost.sources == {}
        host.systemctl("restart", "avahi-daemon.service")
        lost.until(lost.is_well, "announced again")
    first.until(lambda: B in first.sources, "found again")
    second.until(lambda: A in second.sources, "found again")


def test_interface_down_and_up(pair: tuple[Lan, Host, Host], discover: Discover) -> None:
    _, one, two = pair
    first, second = discover(one, A, "one"), discover(two, B, "two")
    first.until(lambda: B in first.sources, "found")
    one.run(["networkctl", "down", "host0"])
    first.until(lambda: B not in first.sources, "lost with the interface")
    one.run(["networkctl", "up", "host0"])
    first.until(lambda: first.versions(B) == {4, 6}, "found again")
    second.until(lambda: second.versions(A) == {4, 6}, "found again by the other")


def test_a_host_is_renamed(pair: tuple[Lan, Host, Host], discover: Discover) -> None:
    _, one, two = pair
    discover(one, A, "one")
    second = discover(two, B, "two")
    second.until(lambda: A in second.sources, "found")
    call = ("org.freedesktop.Avahi", "/", "org.freedesktop.Avahi.Server", "SetHostName", "s", "another")
    one.busctl("call", *call)
    name = one.call("org.freedesktop.Avahi", "/", "org.freedesktop.Avahi.Server", "GetHostName")
    assert name == ["another"]
    second.until(lambda: A in second.sources, "found under the new name")
    third = discover(two, "c" * 64, "late")
    third.until(lambda: third.versions(A) == {4, 6}, "announced again by the renamed host")


def test_a_service_file_that_lies_about_its_id(pair: tuple[Lan, Host, Host], discover: Discover) -> None:
    """The claim is passed on as one more source, which TLS will tell from the real one.

    So is it to the device itself, which never hears of its own announcements: a copy of it is told of.
    """
    _, one, two = pair
    first, second = discover(one, A, "one"), discover(two, B, "two")
    first.until(lambda: first.versions(B) == {4, 6}, "found")
    first.until(lambda: A not in first.sources, "gone, what was announced before the host was renamed")
    two.run(["tee", "/etc/avahi/services/liar.service"], stdin=LIAR.format(A))
    second.until(lambda: second.claims(A) and len(second.sources[A]) > len(second.claims(A)), "both found")
    first.until(lambda: A in first.sources, "told that another host says that it is this device")
    first.until(lambda: set(first.addresses(A)) <= set(first.addresses(B)), "told where that host is")
    two.run(["tee", "/etc/avahi/services/liar.service"], stdin=LIAR.format("not an id"))
    second.until(lambda: not second.claims(A), "the claim is taken back")
    while first.waits():
        first.take()
    assert first.versions(B) == {4, 6}, "the real one is still there"
    two.run(["rm", "/etc/avahi/services/liar.service"])
