# SPDX-License-Identifier: Apache-2.0
"""What goes wrong on the hosts of a soak, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hosts.machine import Host
    from soak.mesh import Mesh

_AGENT, _PEERS, _HELPER = "missiond.service", "missiond-peers.service", "missiond-helper.service"
_LOGIND, _POLKIT, _AVAHI = "systemd-logind.service", "polkit.service", "avahi-daemon.service"
HANGS = 1.5
"""Seconds that a neighbour hangs."""
CUT = 8.0
"""Seconds without the network: longer than a link lives without word."""


class Fault(NamedTuple):
    """Its name, and what does it to a host.  `fatal` faults end a daemon of ours."""

    name: str
    do: Callable[[Mesh, Host], None]
    fatal: bool = False


def _kill(unit: str) -> Callable[[Mesh, Host], None]:
    return lambda _mesh, host: _quietly(host, "kill", "--signal=KILL", unit)


def _restart(unit: str) -> Callable[[Mesh, Host], None]:
    return lambda _mesh, host: _quietly(host, "restart", unit)


def _hang(unit: str) -> Callable[[Mesh, Host], None]:
    def hang(_mesh: Mesh, host: Host) -> None:
        pid = host.show(unit, "MainPID")
        if int(pid) > 1:
            host.run(["kill", "-STOP", pid], check=False)
            host.run(["sleep", str(HANGS)])
            host.run(["kill", "-CONT", pid], check=False)

    return hang


def _quietly(host: Host, *words: str) -> None:
    host.systemctl("reset-failed", words[-1], check=False)
    host.systemctl(*words, check=False)
    if words[-1] in (_AVAHI, _POLKIT):
        host.systemctl("start", words[-1], check=False)


def _cut(mesh: Mesh, host: Host) -> None:
    mesh.lan.cable(host.name, plugged=False)
    try:
        time.sleep(CUT)  # as long as the cable is out
    finally:
        mesh.lan.cable(host.name, plugged=True)


FAULTS = (
    Fault("polkit hangs", _hang(_POLKIT)),
    Fault("kill -9 missiond", _kill(_AGENT), fatal=True),
    Fault("avahi restarted", _restart(_AVAHI)),
    Fault("logind restarted", _restart(_LOGIND)),
    Fault("kill -9 missiond-peers", _kill(_PEERS), fatal=True),
    Fault("cable out", _cut),
    Fault("polkit killed", _kill(_POLKIT)),
    Fault("missiond-helper killed", _kill(_HELPER)),
    Fault("missiond restarted", _restart(_AGENT), fatal=True),
    Fault("avahi hangs", _hang(_AVAHI)),
    Fault("logind hangs", _hang(_LOGIND)),
    Fault("logind killed", _kill(_LOGIND)),
    Fault("missiond-peers restarted", _restart(_PEERS), fatal=True),
    Fault("avahi killed", _kill(_AVAHI)),
)
