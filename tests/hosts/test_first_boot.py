# SPDX-License-Identifier: Apache-2.0
"""The first boot of an image that has the package: what is on, and that peers are off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts.first_boot import never_booted
from hosts.machine import Host

ON = ("missiond.service", "missiond-helper.socket", "missiond-units.socket")
PEERS = "missiond-peers.service"


@pytest.fixture(scope="module")
def image_host(host_tree: Path) -> Iterator[Host]:
    """A host at its first boot."""
    with never_booted(host_tree) as image, Host(image) as booted:
        yield booted


def _enabled(host: Host, unit: str) -> str:
    return host.systemctl("is-enabled", unit, check=False)


def _peers_are_off(host: Host) -> None:
    assert _enabled(host, PEERS) == "disabled"
    assert host.show(PEERS, "ActiveState") == "inactive"
    assert host.run(["test", "-e", "/var/lib/missiond-peers"], check=False).returncode == 1
    assert host.run(["cat", "/proc/net/tcp", "/proc/net/tcp6"]).stdout.upper().count(":21BD ") == 0  # 8637
    assert host.tasks("GetAllContinuousTasks", "b", "true") == [[]]


def test_the_first_boot_leaves_peers_off(image_host: Host) -> None:
    """Nothing listens, there is no key, and what is meant to be on is on."""
    # disabled in the image, and named by no preset: so presets were applied
    assert _enabled(image_host, "avahi-daemon.service") == "enabled"
    image_host.wait_active()
    assert {unit: _enabled(image_host, unit) for unit in ON} == dict.fromkeys(ON, "enabled")
    _peers_are_off(image_host)


def test_all_presets_at_once_leave_peers_off(image_host: Host) -> None:
    """`systemctl preset-all` is what image builders run; it turns off what somebody had turned on."""
    image_host.systemctl("enable", PEERS)
    image_host.systemctl("preset-all")
    assert {unit: _enabled(image_host, unit) for unit in ON} == dict.fromkeys(ON, "enabled")
    _peers_are_off(image_host)


def test_a_preset_of_the_unit_alone_leaves_peers_off(image_host: Host) -> None:
    """As package managers of other distributions ask for each unit that they install."""
    image_host.systemctl("preset", PEERS)
    _peers_are_off(image_host)
