# SPDX-License-Identifier: Apache-2.0
"""Two hosts on a network, that have peers on and trust each other."""

from __future__ import annotations

import contextlib
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from bench.fleet import INSIDE
from hosts.devices import AGENT, PEERS, UNIT, device_id, wait_state
from hosts.lan import Lan, has_address
from hosts.machine import MANAGER, Host
from hosts.people import MISSIONS

PORT = 8637
HEADERS = 14 + 40 + 32
"""Bytes of a segment before its data: Ethernet, IPv6, and TCP with timestamps."""
_COUNTER = re.compile(r"\b(bytes_sent|bytes_received|segs_out|segs_in):(\d+)")


class Twin(NamedTuple):
    """One of them."""

    release: str
    host: Host
    device: str

    @property
    def address(self) -> str:
        """Where others reach it over IPv4."""
        self.host.wait_for(lambda: has_address(self.host), 30)
        shown = self.host.run(["networkctl", "--no-pager", "status", "host0"]).stdout
        return "{}:{}".format(re.findall(r"169\.254\.\d+\.\d+", shown)[0], PORT)

    def trust(self, device: str, address: str = "") -> None:
        """Trust a device, and keep its list."""
        options = ["1", "address", "s", address] if address else ["0"]
        self.host.call(*MANAGER, PEERS, "TrustDevice", "sa{sv}", device, *options)
        self.host.call(*MANAGER, MISSIONS, "StartSyncRemoteMissions", "sbi", device, "true", "0")

    def wire(self) -> int:
        """Bytes of all links of this host until now, in both directions and with the headers."""
        command = [
            "nsenter",
            "-t",
            str(self.host.leader),
            "-n",
            "ss",
            "-tinHO",
            f"( sport = {PORT} or dport = {PORT} )",
        ]
        shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout
        total = 0
        for name, number in _COUNTER.findall(shown):
            total += int(number) * (HEADERS if name.startswith("segs") else 1)
        return total


class Twins:
    """Booted when made; `close()` ends them."""

    def __init__(self, trees: dict[str, Path]) -> None:
        """:param trees: what to boot, by release; two hosts also where there is one release alone."""
        with contextlib.ExitStack() as stack:
            self.lan = stack.enter_context(Lan())
            releases = list(trees) * 2
            self.both = [self._boot(stack, release, trees[release]) for release in releases[:2]]
            for here, there in (self.both, self.both[::-1]):
                here.trust(there.device)
            for here, there in (self.both, self.both[::-1]):
                wait_state(here.host, there.device, "connected")
            self._stack = stack.pop_all()

    def _boot(self, stack: contextlib.ExitStack, release: str, tree: Path) -> Twin:
        host = stack.enter_context(
            Host(tree, lan=self.lan, options=[f"--bind-ro={INSIDE}:/mnt/bench/inside"])
        )
        host.systemctl("start", "systemd-networkd.service", "avahi-daemon.service")
        host.wait_for(lambda: has_address(host), 30)
        host.wait_active(AGENT)
        host.systemctl("enable", "--now", UNIT)
        host.wait_for(
            lambda: '""' not in host.busctl("get-property", *MANAGER, PEERS, "LocalDeviceId").stdout
        )
        return Twin(release, host, device_id(host))

    def close(self) -> None:
        """End them."""
        self._stack.close()
