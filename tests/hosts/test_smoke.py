# SPDX-License-Identifier: Apache-2.0
"""The installed package on a real host: the service is up, may be talked to, and holds real locks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hosts.machine import MANAGER, TASKS

if TYPE_CHECKING:
    from hosts.conftest import BootHost
    from hosts.machine import Host


def test_the_service_is_up_and_the_host_is_well(host: Host) -> None:
    """Nothing failed at boot, and neither bus nor polkit complains about the files of the package."""
    host.wait_active()
    assert host.systemctl("is-system-running", "--wait") == "running"
    assert host.show("missiond.service", "NRestarts") == "0"
    assert "missiond" not in host.journal("dbus.service", "--priority=warning")
    host.run(["pkaction", "--action-id", "org.missiond.Agent1.manage-others"])
    assert "missiond" not in host.journal("polkit.service", "--priority=warning")


def test_it_runs_as_its_own_user_without_capabilities(host: Host) -> None:
    """What the unit asks for is what the kernel enforces."""
    pid = host.show("missiond.service", "MainPID")
    status = host.run(["cat", f"/proc/{pid}/status"]).stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split()[0] == host.run(["id", "-u", "missiond"]).stdout.strip()
    assert (int(fields["CapEff"], 16), fields["NoNewPrivs"], fields["Seccomp"]) == (0, "1", "2")


def test_a_user_gets_a_lock_for_as_long_as_the_process_lives(host: Host) -> None:
    """The lock is in logind's list, says whose it is, and goes with its process."""
    owner = host.spawn(["sleep", "600"], user="alice")
    (request, delay) = host.tasks(
        "RequestSuspendDelay", "sa{sv}", "smoke test", "1", "pid", "u", str(owner.pid), user="alice"
    )
    assert request >= 1
    assert delay > 0
    (lock,) = host.locks()
    assert lock.what == "sleep"
    assert "smoke test" in lock.why
    owner.signal("KILL")
    host.wait_for(lambda: host.locks() == [])


def test_busctl_shows_the_objects(host: Host) -> None:
    """Without arguments that only an expert knows."""
    tree = host.busctl("tree", "--list", MANAGER[0], user="bob").stdout.split()
    assert "/org/missiond/Agent1" in tree
    members = host.busctl("introspect", *MANAGER, TASKS, user="bob").stdout
    assert "RequestSuspendDelay" in members


@pytest.mark.parametrize("user", [None, "alice"])
def test_the_bus_refuses_what_the_policy_does_not_name(host: Host, user: str | None) -> None:
    """For root as well; the daemon never sees such a call."""
    call = host.busctl("call", *MANAGER, "org.example.Other", "Anything", user=user, check=False)
    assert call.returncode != 0
    assert "Access denied" in call.stderr


def test_nobody_else_may_own_the_name(host: Host) -> None:
    """Not even root."""
    ask = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "RequestName")
    for user in (None, "alice"):
        refused = host.busctl("call", *ask, "su", MANAGER[0], "0", user=user, check=False)
        assert refused.returncode != 0
        assert "Access denied" in refused.stderr


def test_a_call_starts_a_stopped_service(host: Host) -> None:
    """Bus activation, by systemd."""
    host.systemctl("stop", "missiond.service")
    assert host.show("missiond.service", "ActiveState") == "inactive"
    host.busctl("call", *MANAGER, "org.freedesktop.DBus.Peer", "Ping", user="bob")
    host.wait_active()


def test_reload_goes_through_the_bus(host: Host) -> None:
    """As the service's own user, which the unit's ExecReload= is."""
    host.systemctl("reload", "missiond.service")
    assert host.show("missiond.service", "ActiveState") == "active"


def test_locks_survive_restart_and_kill(boot_host: BootHost) -> None:
    """The next run holds it under its own pid."""
    host = boot_host()
    host.wait_active()
    owner = host.spawn(["sleep", "600"], user="alice")
    host.tasks("RequestSuspendDelay", "sa{sv}", "kept", "1", "pid", "u", str(owner.pid), user="alice")
    (before,) = host.locks()
    host.systemctl("restart", "missiond.service")
    host.wait_for(lambda: [lock._replace(pid=before.pid) for lock in host.locks()] == [before])
    host.systemctl("kill", "--signal=KILL", "missiond.service")
    host.wait_for(lambda: host.show("missiond.service", "NRestarts") == "1")
    host.wait_active()
    host.wait_for(lambda: [lock._replace(pid=before.pid) for lock in host.locks()] == [before])
    host.wait_for(lambda: host.show("missiond.service", "NFileDescriptorStore") == "1")
    owner.signal("TERM")
    host.wait_for(lambda: host.locks() == [])
    host.wait_for(lambda: host.show("missiond.service", "NFileDescriptorStore") == "0")
