# SPDX-License-Identifier: Apache-2.0
"""Three hosts that trust each other, for as many minutes as MISSIOND_SOAK_MINUTES says (5)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from hosts.crowds import BIND
from hosts.devices import device_id, missionctl, wait_state
from hosts.lan import Lan, has_address
from hosts.machine import Host
from hosts.people import MISSIONS
from hosts.trees import SUITES, missing, package, tree
from soak.mesh import Mesh

MINUTES = float(os.environ.get("MISSIOND_SOAK_MINUTES", "5"))
HOSTS = 3
_HERE = Path(__file__).parent
_TABLE = pytest.StashKey[str]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is here, and give it time."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.soak)
            item.add_marker(pytest.mark.timeout(60 * MINUTES + 600, func_only=True))


@pytest.fixture
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """The hosts, of the releases by turns, each connected to the others and in sync with them."""
    deb = package(tmp_path_factory.mktemp("package"), missing())
    trees = [tree("host", SUITES[number % len(SUITES)], deb) for number in range(HOSTS)]
    with contextlib.ExitStack() as stack:
        lan = stack.enter_context(Lan())
        hosts = [stack.enter_context(Host(each, lan=lan, options=BIND)) for each in trees]
        for host in hosts:
            host.systemctl("start", "systemd-networkd.service", "avahi-daemon.service")
        for host in hosts:
            host.wait_for(partial(has_address, host), 30)
            host.wait_active()
            missionctl(host, "peers", "enable")
        devices = [device_id(host) for host in hosts]
        found = Mesh(lan, hosts, devices)
        for host, device in found.pairs():
            missionctl(host, "peers", "trust", device, "sync")
        for host, device in found.pairs():
            wait_state(host, device, "connected", 90)
            host.call(*_MANAGER, MISSIONS, "StartSyncRemoteMissions", "sbi", device, "true", "0")
        yield found


_MANAGER = ("org.missiond.Agent1", "/org/missiond/Agent1")
