# SPDX-License-Identifier: Apache-2.0
"""The agent and its neighbours die and come back; nothing is lost, nothing is held twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hosts.client import configure, main_pid, manager, request, sleeper, start, without
from hosts.signals import Signals

if TYPE_CHECKING:
    from hosts.machine import Host, Inhibitor

SERVICE = "missiond.service"


def _names(locks: list[Inhibitor]) -> list[tuple[str, str, str]]:
    return sorted((lock.what, lock.who, lock.why) for lock in locks)


def _kill(host: Host) -> None:
    restarts = int(host.show(SERVICE, "NRestarts"))
    host.systemctl("kill", "--signal=KILL", SERVICE)
    host.wait_for(lambda: int(host.show(SERVICE, "NRestarts")) == restarts + 1)
    host.wait_active()


@pytest.mark.parametrize("how", ["restart", "reload", "kill", "stop-start"])
def test_every_task_goes_on(host: Host, how: str) -> None:
    owner = sleeper(host)
    number, task = request(host, owner), start(host, owner, "voip", "dataTransfer")
    before = _names(host.locks())
    assert len(before) == 2
    (left,) = host.tasks("GetRemainingDelayTime", "u", str(number), user="alice")
    if how == "kill":
        _kill(host)
    elif how == "stop-start":
        host.systemctl("stop", SERVICE)
        assert host.locks() == []
        host.systemctl("start", SERVICE)
    else:
        host.systemctl(how, SERVICE)
    assert _names(host.locks()) == before
    assert {lock.pid for lock in host.locks()} == {int(main_pid(host, SERVICE))}
    (later,) = host.tasks("GetRemainingDelayTime", "u", str(number), user="alice")
    assert left - 20_000 < later < left
    host.wait_for(lambda: host.show(SERVICE, "NFileDescriptorStore") == "2")
    assert request(host, owner) == number + 1
    assert start(host, owner, "voip", options=("context", "s", "b")) == task + 1
    owner.signal("KILL")
    host.wait_for(lambda: host.locks() == [])
    host.wait_for(lambda: host.show(SERVICE, "NFileDescriptorStore") == "0")


def test_an_owner_that_died_meanwhile_is_noticed(host: Host) -> None:
    gone, stays = sleeper(host), sleeper(host)
    request(host, gone)
    start(host, gone, "voip")
    kept = request(host, stays)
    main = main_pid(host, SERVICE)
    host.run(["kill", "-STOP", main])
    gone.signal("KILL")
    gone.wait()
    _kill(host)
    host.wait_for(lambda: [lock.why for lock in host.locks()] == [f"transient task {kept}: test"])
    stays.signal("KILL")
    host.wait_for(lambda: host.locks() == [])


def test_a_deadline_that_passed_meanwhile(host: Host) -> None:
    owner = sleeper(host)
    signals = Signals(host)
    number = request(host, owner, "delay", "u", "1500")
    host.run(["kill", "-STOP", main_pid(host, SERVICE)])
    host.run(["sleep", "1.6"])
    _kill(host)
    assert signals.wait("SuspendDelayEnded").body == [number, "expired"]
    host.wait_for(lambda: host.locks() == [])
    owner.signal("KILL")


def test_logind_restarts(host: Host) -> None:
    owner = sleeper(host)
    request(host, owner)
    before = _names(host.locks())
    host.systemctl("restart", "systemd-logind.service")
    host.wait_for(lambda: _names(host.locks()) == before)
    start(host, owner, "voip")
    assert len(host.locks()) == 2
    owner.signal("KILL")
    host.wait_for(lambda: host.locks() == [])
    assert manager(host, "Degraded") == "as 0"


def test_no_logind_is_said_and_mended(host: Host) -> None:
    owner = sleeper(host)
    with without(host, "org.freedesktop.login1", "systemd-logind.service"):
        number = request(host, owner)
        assert "no logind" in manager(host, "Degraded")
        host.wait_for(lambda: "no logind" in host.show(SERVICE, "StatusText"))
    host.wait_for(lambda: [lock.why for lock in host.locks()] == [f"transient task {number}: test"])
    host.wait_for(lambda: manager(host, "Degraded") == "as 0")
    owner.signal("KILL")
    host.wait_for(lambda: host.locks() == [])


def test_logind_that_hangs_holds_nobody_up(host: Host) -> None:
    owner = sleeper(host)
    logind = main_pid(host, "systemd-logind.service")
    host.run(["kill", "-STOP", logind])
    try:
        number = request(host, owner)
        assert "logind does not answer" in manager(host, "Degraded")
    finally:
        host.run(["kill", "-CONT", logind])
    host.wait_for(lambda: [lock.why for lock in host.locks()] == [f"transient task {number}: test"])
    host.wait_for(lambda: manager(host, "Degraded") == "as 0")
    owner.signal("KILL")
    host.wait_for(lambda: host.locks() == [])


def test_no_polkit_leaves_it_to_root(host: Host) -> None:
    owner = sleeper(host)
    with without(host, "org.freedesktop.PolicyKit1", "polkit.service"):
        with pytest.raises(AssertionError, match="201: this host has no polkit"):
            start(host, owner, "voip")
        host.wait_for(lambda: "no polkit" in manager(host, "Degraded"))
    start(host, owner, "voip")
    host.wait_for(lambda: manager(host, "Degraded") == "as 0")
    owner.signal("KILL")
    host.wait_for(lambda: host.locks() == [])


def test_the_bus_restarts(host: Host) -> None:
    """The agent comes back by itself; logind 257 does not return to a new bus, so it is restarted here."""
    owner = sleeper(host)
    request(host, owner)
    before = _names(host.locks())
    host.systemctl("restart", "dbus.service", check=False)
    host.wait_active()
    host.systemctl("restart", "systemd-logind.service")
    host.wait_for(lambda: _names(host.locks()) == before, timeout=30)
    host.wait_for(lambda: host.show(SERVICE, "NFileDescriptorStore") == "1")
    owner.signal("KILL")
    host.wait_for(lambda: host.locks() == [])


def test_a_bad_value_keeps_the_old_one(host: Host) -> None:
    configure(host, "[Transient]\nMaxRequests=1\n")
    configure(host, "[Transient]\nMaxRequests=many\n")
    journal = host.journal(SERVICE, "--lines=20")
    assert "/etc/missiond/missiond.conf.d/50-test.conf:2: [Transient] MaxRequests=many" in journal
    owner = sleeper(host)
    request(host, owner)
    with pytest.raises(AssertionError, match="1 requests"):
        request(host, owner)
    owner.signal("KILL")
    configure(host, "")
