# SPDX-License-Identifier: Apache-2.0
"""The life of the package on a running host: install, upgrade, remove, purge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts.machine import Host
from hosts.trees import tree

INSTALL = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes", "--reinstall"]
STATUS = [
    "org.missiond.Agent1",
    "/org/missiond/Agent1",
    "org.freedesktop.DBus.Properties",
    "GetAll",
    "s",
    "org.missiond.Agent1.Manager",
]
CALLING = f"while :; do busctl --timeout=5 call {' '.join(STATUS)} >/dev/null 2>&1; done"


@pytest.fixture(scope="module")
def bare_host(suite: str, deb: Path) -> Iterator[Host]:
    """A host without the package, which lies in its /mnt."""
    with Host(tree("base", suite), options=[f"--bind-ro={deb}:/mnt/missiond_0_all.deb"]) as booted:
        yield booted


def _install(host: Host) -> None:
    host.run([*INSTALL, "/mnt/missiond_0_all.deb"], timeout=240)


def _installed(host: Host) -> None:
    """Install it where it is not there, and wait until it is up."""
    if host.run(["test", "-e", "/usr/libexec/missiond"], check=False).returncode:
        _install(host)
    host.wait_active()


def test_install_brings_the_service_up_at_once(bare_host: Host) -> None:
    """The bus learns of the new user and its name in time: the first start succeeds."""
    _install(bare_host)
    assert bare_host.systemctl("is-enabled", "missiond.service") == "enabled"
    bare_host.wait_active()
    assert bare_host.show("missiond.service", "NRestarts") == "0"


def test_upgrade_keeps_the_locks(bare_host: Host) -> None:
    """The service is restarted, not stopped and started."""
    _installed(bare_host)
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


def test_disabled_stays_off(bare_host: Host) -> None:
    """Programs go on calling; an administrator's start by hand works all the same."""
    _installed(bare_host)
    bare_host.systemctl("disable", "--now", "missiond.service")
    assert bare_host.busctl("call", *STATUS, check=False).returncode != 0
    said = bare_host.run(["missionctl", "status"], check=False)
    assert (said.returncode, len(said.stderr.splitlines())) == (3, 1), said
    assert bare_host.show("missiond.service", "ActiveState") == "inactive"
    bare_host.systemctl("start", "missiond.service")
    bare_host.busctl("call", *STATUS)
    bare_host.systemctl("enable", "missiond.service")
    bare_host.systemctl("stop", "missiond.service")
    bare_host.busctl("call", *STATUS)
    bare_host.systemctl("mask", "--now", "missiond.service")
    assert bare_host.busctl("call", *STATUS, check=False).returncode != 0
    bare_host.systemctl("unmask", "missiond.service")
    bare_host.systemctl("start", "missiond.service")


def test_remove_and_purge_leave_nothing(bare_host: Host) -> None:
    """But the user, whose number must not be given to another; also where programs call all the time."""
    _installed(bare_host)
    callers = [bare_host.spawn(["sh", "-c", CALLING]) for _ in range(4)]
    bare_host.run(["apt-get", "remove", "--yes", "missiond"], timeout=120)
    assert _running(bare_host) == []
    bare_host.run(["apt-get", "purge", "--yes", "missiond"], timeout=120)
    assert _running(bare_host) == []
    left = bare_host.run(
        ["find", "/etc", "/usr", "/var/lib", "/run", "-name", "*missiond*", "-not", "-path", "/run/host/*"],
        check=False,
    ).stdout.splitlines()
    assert [path for path in left if "/deb-systemd-helper" not in path] == []
    for caller in callers:
        caller.close()


def _running(host: Host) -> list[str]:
    """Units of it that are active or failed, and processes."""
    states = "--state=active,activating,deactivating,reloading,failed"
    units = host.systemctl("list-units", "--plain", "--no-legend", states, "missiond*", "dbus-org.missiond*")
    pids = [
        host.run(["pgrep", *arguments], check=False).stdout
        for arguments in (["-u", "missiond"], ["-f", "^/usr/libexec/missiond"])
    ]
    return [line for said in (units, *pids) for line in said.splitlines()]


def test_an_install_ends_what_an_older_one_left(bare_host: Host) -> None:
    """What a removal left that was cut short: a process of ours, and what refuses starts."""
    _installed(bare_host)
    bare_host.run(["apt-get", "remove", "--yes", "missiond"], timeout=120)
    left = bare_host.systemd_run("missiond-helper.service", ["sleep", "600"])
    bare_host.run(["mkdir", "-p", "/run/systemd/system/missiond.service.d"])
    refused = "/run/systemd/system/missiond.service.d/90-missiond-removed.conf"
    bare_host.run(["tee", refused], stdin="[Unit]\nRefuseManualStart=yes\nAssertPathExists=!/\n")
    _install(bare_host)
    bare_host.wait_active()
    assert bare_host.run(["kill", "-0", str(left)], check=False).returncode != 0
