# SPDX-License-Identifier: Apache-2.0
"""The kernel's process connector (cn_proc), which no container has, and what is found through it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from hosts.people import gone, mission_of
from hosts.signals import Signals
from vm.console import Console

if TYPE_CHECKING:
    from vm.machine import Machine

_SUBSCRIBE = """
import os, socket, struct, subprocess
link = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11)
link.bind((0, 1))
link.settimeout(20)
content = struct.pack("=IIIIHHI", 1, 1, 7, 41, 4, 0, 1)
link.send(struct.pack("=IHHII", 16 + len(content), 3, 0, 0, 0) + content)
def event():
    data = link.recv(4096)
    (ack,), (what,) = struct.unpack_from("=I", data, 28), struct.unpack_from("=I", data, 36)
    return ack, what, struct.unpack_from("=IIII", data, 52)
ack, what, (error, *_) = event()
while what != 0:
    ack, what, (error, *_) = event()
print("answer", ack, error)
child = subprocess.Popen(["true"])
wanted = {1: False, 2: False}
while not all(wanted.values()):
    _, what, pids = event()
    if what == 1 and pids[3] == child.pid or what == 2 and pids[1] == child.pid:
        wanted[what] = True
print("fork and exec", child.wait())
"""
_USABLE = """
import importlib.util, os
release = tuple(int(part) for part in os.uname().release.split(".")[:2])
print(importlib.util.find_spec("missiond.host.processes.connector") is not None and release >= (6, 6))
"""
_STATIC = "/usr/lib/klibc/bin/sleep"
"""A program that does without the C library's dynamic linker; the kernel's package brings it."""


@pytest.fixture
def console(machine: Machine) -> Iterator[Console]:
    """Alice, logged in."""
    opened = Console(machine)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture(scope="module")
def hears_all(machine: Machine) -> bool:
    """Whether the agent can hear of every process here: it has no privilege, so that takes Linux 6.6."""
    return machine.python(_USABLE).strip() == "True"


def test_the_kernel_tells_of_forks_and_programs(machine: Machine) -> None:
    assert machine.python(_SUBSCRIBE).splitlines() == ["answer 42 0", "fork and exec 0"]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("sleep 600 &", "sleep"),
        (f"{_STATIC} 600 &", "sleep"),
        ("(while read -t 600; do :; done) </dev/tty &", "bash"),
    ],
    ids=["linked", "static", "forked"],
)
def test_a_job_is_a_mission(
    machine: Machine, console: Console, hears_all: bool, line: str, name: str
) -> None:
    """At once, without any other program being started meanwhile; else as soon as one is."""
    signals = Signals(machine)
    console.type(f"{line}\n")
    if hears_all or line.startswith("sleep"):
        signals.wait("InterfacesAdded")
    mission = mission_of(machine, name, patience=20)
    assert mission.uid == 1000
    machine.run(["kill", "-KILL", str(mission.pid)])
    gone(machine, mission.id)
