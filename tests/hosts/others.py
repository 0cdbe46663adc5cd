# SPDX-License-Identifier: Apache-2.0
"""What people and programs of a host know of the other hosts."""

from __future__ import annotations

import json
from typing import Any

from hosts.machine import MANAGER, Host
from hosts.people import MISSIONS, missions

AGENT, UNIT = "missiond.service", "missiond-peers.service"


def missionctl(host: Host, *words: str, user: str | None = None) -> str:
    """Run it to its end, which must be a good one."""
    return host.run(["missionctl", *words], user=user).stdout


def device_id(host: Host) -> str:
    return missionctl(host, "peers", "id").strip()


def state(host: Host, device: str) -> str:
    """What a host knows of a device."""
    found = json.loads(missionctl(host, "peers", "--json"))
    return next((str(peer["state"]) for peer in found if peer["device_id"] == device), "unknown")


def wait_state(host: Host, device: str, wanted: str, timeout: float = 40) -> None:
    try:
        host.wait_for(lambda: state(host, device) == wanted, timeout)
    except TimeoutError:
        raise AssertionError(f"{state(host, device)}, not {wanted}:\n{host.journal(UNIT)}") from None


def start(host: Host, label: str) -> None:
    """Start a program of alice's that is a mission."""
    host.spawn(["missionctl", "run", "--title", label, "--", "sleep", "6000"], user="alice")


def remote(host: Host, device: str) -> list[Any]:
    (rows,) = host.call(*MANAGER, MISSIONS, "GetMissionInfos", "su", device, "1000")
    return [tuple(row) for row in rows]


def wait_equal(one: Host, two: Host, timeout: float) -> None:
    """Wait until the first host's view of the second is what the second has."""
    device = device_id(two)

    def equal() -> bool:
        try:
            return remote(one, device) == [tuple(row) for row in missions(two, None)]
        except AssertionError:
            return False  # not connected, or not synchronised, at this moment

    try:
        one.wait_for(equal, timeout)
    except TimeoutError:
        raise AssertionError(f"{missions(two, None)}\n{one.journal(UNIT)}\n{one.journal(AGENT)}") from None
