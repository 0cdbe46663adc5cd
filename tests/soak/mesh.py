# SPDX-License-Identifier: Apache-2.0
"""Hosts that see each other's missions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hosts.devices import wait_equal, wait_state

if TYPE_CHECKING:
    from hosts.lan import Lan
    from hosts.machine import Host


@dataclasses.dataclass
class Mesh:
    """The hosts, their network, and the device ids in the same order."""

    lan: Lan
    hosts: list[Host]
    devices: list[str]

    def pairs(self) -> Iterator[tuple[Host, str]]:
        """Each host with the device of each other one."""
        for host in self.hosts:
            for other, device in zip(self.hosts, self.devices, strict=True):
                if other is not host:
                    yield host, device

    def wait_equal(self, timeout: float) -> None:
        """Wait until each host is connected to the others and has their lists; fails where one has not."""
        for host, device in self.pairs():
            wait_state(host, device, "connected", timeout)
        for host in self.hosts:
            for other in self.hosts:
                if other is not host:
                    wait_equal(host, other, timeout)
