# SPDX-License-Identifier: Apache-2.0
"""The life of the package on a running host: install, upgrade, remove, purge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts.machine import Host
from hosts.trees import tree

INSTALL = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes", "--reinstall"]


@pytest.fixture(scope="module")
def bare_host(suite: str, deb: Path) -> Iterator[Host]:
    """A host without the package, which lies in its /mnt."""
    with Host(tree("base", suite), options=[f"--bind-ro={deb}:/mnt/missiond_0_all.deb"]) as booted:
        yield booted


def _install(host: Host) -> None:
    host.run([*INSTALL, "/mnt/missiond_0_all.deb"], timeout=240)


def test_install_brings_the_service_up_at_once(bare_host: Host) -> None:
    """The bus learns of the new user and its name in time: the first start succeeds."""
    _install(bare_host)
    assert bare_host.systemctl("is-enabled", "missiond.service") == "enabled"
    bare_host.wait_active()
    assert bare_host.show("missiond.service", "NRestarts") == "0"


def test_upgrade_keeps_the_locks(bare_host: Host) -> None:
    """The service is restarted, not stopped and started."""
    _install(bare_host)
    bare_host.wait_active()
    before = bare_host.show("missiond.service", "MainPID")
    owner = bare_host.spawn(["sleep", "600"])
    bare_host.tasks("RequestSuspendDelay", "sa{sv}", "upgrade", "1", "pid", "u", str(owner.pid))
    locks = bare_host.locks()
    assert len(locks) == 1
    _install(bare_host)
    bare_host.wait_active()
    assert bare_host.show("missiond.service", "MainPID") != before
    assert [lock[:5] for lock in bare_host.locks()] == [lock[:5] for lock in locks]
    owner.close()


def test_remove_and_purge_leave_nothing(bare_host: Host) -> None:
    """But the user, whose number must not be given to another."""
    _install(bare_host)
    bare_host.wait_active()
    bare_host.run(["apt-get", "remove", "--yes", "missiond"], timeout=120)
    assert bare_host.show("missiond.service", "ActiveState") == "inactive"
    bare_host.run(["apt-get", "purge", "--yes", "missiond"], timeout=120)
    left = bare_host.run(
        ["find", "/etc", "/usr", "/var/lib", "/run", "-name", "*missiond*", "-not", "-path", "/run/host/*"],
        check=False,
    ).stdout.splitlines()
    assert [path for path in left if "/deb-systemd-helper" not in path] == []
