# SPDX-License-Identifier: Apache-2.0
"""Transient tasks on a real host, through busctl."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hosts.client import configure, refused, request, sleeper
from hosts.signals import Signals

if TYPE_CHECKING:
    from hosts.machine import Host


def test_warned_and_ended_and_nothing_is_killed(host: Host) -> None:
    signals = Signals(host)
    owner = sleeper(host)
    number = request(host, owner, "delay", "u", "1500")
    assert [lock.what for lock in host.locks()] == ["sleep"]
    assert signals.wait("SuspendDelayExpiring").body[0] == number
    assert signals.wait("SuspendDelayEnded").body == [number, "expired"]
    host.wait_for(lambda: host.locks() == [])
    host.run(["kill", "-0", str(owner.pid)])
    owner.signal("KILL")


def test_three_at_most_and_cancelled_ones_free_a_place(host: Host) -> None:
    owner = sleeper(host)
    numbers = [request(host, owner) for _ in range(3)]
    assert len(host.locks()) == 3
    assert "9900002" in refused(host, "RequestSuspendDelay", "sa{sv}", "x", "1", "pid", "u", str(owner.pid))
    for number in numbers:
        host.tasks("CancelSuspendDelay", "u", str(number), user="alice")
        assert "9900001" in refused(host, "CancelSuspendDelay", "u", str(number))
    host.wait_for(lambda: host.locks() == [])
    owner.signal("KILL")


def test_ids_are_the_users_own(host: Host) -> None:
    owner = sleeper(host)
    number = str(request(host, owner))
    for member in ("GetRemainingDelayTime", "CancelSuspendDelay"):
        assert "9900001" in refused(host, member, "u", number, user="bob")
        assert "9900001" in refused(host, member, "u", str(2**32 - 1))
        assert "401: " in refused(host, member, "u", "0")
    (remaining,) = host.tasks("GetRemainingDelayTime", "u", number, user="alice")
    assert 0 < remaining <= 180_000
    owner.signal("KILL")
    host.wait_for(lambda: host.locks() == [])


@pytest.mark.parametrize("delay", ["1", "4294967295"])
def test_a_task_goes_with_its_connection(host: Host, delay: str) -> None:
    """Without `pid` the caller owns it, and busctl is gone at once."""
    signals = Signals(host)
    number, _ = host.tasks("RequestSuspendDelay", "sa{sv}", "x", "1", "delay", "u", delay, user="alice")
    ended = signals.wait("SuspendDelayEnded").body
    assert ended[0] == number
    assert ended[1] in ("owner-exited", "expired")
    host.wait_for(lambda: host.locks() == [])


def test_processes_of_others_are_not_for_users(host: Host) -> None:
    bobs = sleeper(host, "bob")
    for pid in ("1", str(bobs.pid)):
        assert "201: " in refused(host, "RequestSuspendDelay", "sa{sv}", "x", "1", "pid", "u", pid)
    for pid in ("4194303", str(2**32 - 1)):
        assert "9900001: " in refused(host, "RequestSuspendDelay", "sa{sv}", "x", "1", "pid", "u", pid)
    assert "401: " in refused(host, "RequestSuspendDelay", "sa{sv}", "x", "1", "pid", "u", "0")
    number = request(host, bobs, user=None)
    host.tasks("CancelSuspendDelay", "u", str(number), user="bob")
    bobs.signal("KILL")


def test_bad_input_has_its_error_and_leaves_nothing(host: Host) -> None:
    for arguments in (
        ("sa{sv}", "x", "1", "bogus", "u", "1"),
        ("sa{sv}", "x", "1", "delay", "s", "1"),
        ("sa{sv}", "x", "1", "delay", "u", "0"),
        ("s", "x"),
        ("sa{sv}", "x" * 60_000, "0"),
    ):
        assert "401: " in refused(host, "RequestSuspendDelay", *arguments)
    assert host.locks() == []


def test_what_a_reason_may_hold(host: Host) -> None:
    owner = sleeper(host)
    for reason in ("", "bell\x07 and\nline", "日本 …"):
        request(host, owner, reason=reason)
    assert all(lock.why.isprintable() for lock in host.locks())
    assert any("日本" in lock.why for lock in host.locks())
    owner.signal("KILL")
    host.wait_for(lambda: host.locks() == [])


def test_the_quota_holds_across_a_restart(host: Host) -> None:
    configure(host, "[Transient]\nQuota=20s\nWarningTime=500ms\n")
    owner = host.systemd_run("quota-user", ["sleep", "600"], user="alice")
    pid = ("pid", "u", str(owner))
    signals = Signals(host)
    host.tasks("RequestSuspendDelay", "sa{sv}", "x", "2", *pid, "delay", "u", "2000", user="alice")
    signals.wait("SuspendDelayEnded")
    for _ in range(2):
        (_, granted) = host.tasks("RequestSuspendDelay", "sa{sv}", "x", "1", *pid, user="alice")
        assert 17_000 < granted <= 18_000
        (live,) = [lock for lock in host.locks() if "quota-user" in lock.who]
        number = live.why.split()[2].rstrip(":")
        host.tasks("CancelSuspendDelay", "u", number, user="alice")
        host.systemctl("restart", "missiond.service")
    host.systemctl("stop", "quota-user.service")
    configure(host, "")
