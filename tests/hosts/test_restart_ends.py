# SPDX-License-Identifier: Apache-2.0
"""Services that systemd does not start again: their tasks end at once, and say why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hosts.client import configure
from hosts.services import KINDS, Service, crash, drop_ins, gone_on, over, told, unit_file
from hosts.signals import Signals

if TYPE_CHECKING:
    from hosts.machine import Host

SERVICE = "missiond.service"
pytestmark = pytest.mark.usefixtures("alice", "nothing_kept")


@KINDS
def test_a_crash_loop_ends_it_and_says_so(host: Host, of_user: bool) -> None:
    service = Service(host, "restart-loop.service", of_user)
    unit_file(host, service, "ExecStart=/bin/sh -c 'test -e /tmp/crash && exit 3; exec sleep 600'\n")
    task = service.task()
    crash(service, task, Signals(host))
    said = host.journal(SERVICE)
    assert f"{service.name} ended too often, and systemd gave it up (exit-code;" in said
    assert service.show("Restart") == "no"
    host.run(["rm", "/tmp/crash"])
    service.systemctl("reset-failed", service.name)


@KINDS
def test_stopped_by_hand_while_it_waits_it_ends_at_once(host: Host, of_user: bool) -> None:
    service = Service(host, "restart-waits.service", of_user)
    unit_file(host, service, "ExecStart=/bin/sleep 600\nRestart=always\nRestartSec=4min\n")
    task = service.task()
    signals = Signals(host)
    before = service.pid
    host.run(["kill", "-KILL", str(before)])
    host.wait_for(lambda: service.show("SubState") == "auto-restart")
    service.systemctl("restart", service.name)
    gone_on(host, task, service.next_after(before), 1)
    host.run(["kill", "-KILL", str(service.pid)])
    host.wait_for(lambda: service.show("SubState") == "auto-restart")
    host.wait_for(lambda: len(watching(host)) == 1)
    host.run(["sleep", "2"])
    assert told(host, task, "Restarts") == 1
    service.systemctl("stop", service.name)
    host.wait_for(lambda: host.tasks("GetAllContinuousTasks", "b", "true") == [[]], 2)
    signals.wait("ContinuousTaskCancel", task, 2)
    assert not [line for line in signals.lines if "ContinuousTaskFailed" in line]
    host.wait_for(lambda: watching(host) == [])


def watching(host: Host) -> list[str]:
    """Processes of missiond-units that stay."""
    units = host.systemctl("list-units", "--plain", "--no-legend", "missiond-units@*.service")
    return [line for line in units.splitlines() if " running " in line]


@KINDS
def test_a_crash_loop_of_a_service_that_is_forgotten_says_so(host: Host, of_user: bool) -> None:
    service = Service(host, "restart-forgotten.service", of_user)
    host.run(["tee", "/tmp/loop"], stdin="test -e /tmp/crash && exit 3; exec sleep 600")
    service.run("sh", "/tmp/loop", options=("--collect",))
    task = service.task()
    assert service.show("CollectMode") == "inactive"
    crash(service, task, Signals(host))
    host.wait_for(lambda: service.show("LoadState") == "not-found")
    host.run(["rm", "/tmp/crash", "/tmp/loop"])


@KINDS
def test_forgotten_whatever_it_was_told(host: Host, of_user: bool) -> None:
    """Its command would not outlive a reload, so that it is as its user had it."""
    service = Service(host, "restart-lost.service", of_user)
    options = ("--collect", "--property=Restart=on-abort")
    host.run(["mkfifo", "-m", "666", "/tmp/end"])
    for how in ("exit", "stop"):
        service.run("sh", "-c", "read line </tmp/end; exit 3 # $HOME", options=options)
        task = service.task()
        assert drop_ins(host) == []
        host.wait_for(lambda: len(watching(host)) == 1)
        signals = Signals(host)
        if how == "exit":
            host.run(["sh", "-c", "echo >/tmp/end"])
            message = str(signals.wait("ContinuousTaskFailed").body[1])
            assert "ended, and systemd gave it up (exit-code;" in message
        else:
            service.systemctl("stop", service.name)
        signals.wait("ContinuousTaskCancel", task, 2)
        assert ("ContinuousTaskFailed" in "".join(signals.lines)) is (how == "exit")
        over(host)
        host.wait_for(lambda: service.show("LoadState") == "not-found")
        host.wait_for(lambda: watching(host) == [])
    host.run(["rm", "/tmp/end"])


def test_a_slow_crash_loop_ends_it_as_well(host: Host) -> None:
    configure(host, "[KeepAlive]\nRestartBurst=2\n")
    service = Service(host, "restart-slow.service")
    # the first one lives until the task has it
    host.run(["mkfifo", "-m", "666", "/tmp/begin"])
    service.run("sh", "-c", "test ! -p /tmp/begin || read line </tmp/begin && sleep 2.5")
    task = service.task()
    signals = Signals(host)
    host.run(["sh", "-c", "echo >/tmp/begin; rm /tmp/begin"])
    assert "crash loop" in str(signals.wait("ContinuousTaskFailed").body[1])
    signals.wait("ContinuousTaskCancel", task, 2)
    over(host)
    configure(host, "")
    host.wait_for(lambda: service.show("ActiveState") != "active")
