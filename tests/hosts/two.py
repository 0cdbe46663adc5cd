# SPDX-License-Identifier: Apache-2.0
"""Two hosts that may start each other's missions, and alice's programs on both of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

from hosts.continuing import COUNTER, HERE, SLOW, SLOWLY, UNAWARE, running
from hosts.devices import AGENT, device_id, missionctl, wait_state
from hosts.lan import Lan, has_address
from hosts.machine import Host
from hosts.people import alices_manager

_SETTINGS = "[Continue]\nAnswerTimeout=3s\nAcceptTimeout=10s\n"


class Two(NamedTuple):
    """Two hosts, and who they are."""

    lan: Lan
    one: Host
    two: Host
    first: str
    second: str

    @property
    def hosts(self) -> tuple[Host, Host]:
        """Both."""
        return self.one, self.two

    def where(self, program: str = COUNTER) -> tuple[int, int]:
        """How many run at each."""
        return len(running(self.one, program)), len(running(self.two, program))


def on_the_network(*hosts: Host) -> None:
    """Wait until all of them are, with Avahi."""
    for host in hosts:
        host.systemctl("start", "systemd-networkd.service", "avahi-daemon.service")
    for host in hosts:
        host.wait_for(partial(has_address, host), 30)


def befriended(lan: Lan, one: Host, two: Host, tests: tuple[Path, Path] = (HERE.parent, HERE.parent)) -> Two:
    """Have them trust each other with everything; alice has programs that can go on, of these tests."""
    for host, of in zip((one, two), tests, strict=True):
        host.wait_active(AGENT)
        alices_manager(host)
        for name, file in ((COUNTER, "counter.py"), (UNAWARE, "unaware.sh")):
            host.run(["tee", name], stdin=next(of.glob(f"standins/**/{file}")).read_text())
            host.run(["chmod", "755", name])
        host.run(["tee", SLOW], stdin=SLOWLY)
        host.run(["chmod", "755", SLOW])
        host.run(["tee", "/tmp/go_on.py"], stdin=(of / "hosts/inside/go_on.py").read_text())
        host.run(["mkdir", "-p", "/etc/missiond/missiond.conf.d"])
        host.run(["tee", "/etc/missiond/missiond.conf.d/test.conf"], stdin=_SETTINGS)
        host.systemctl("reload", AGENT)
        missionctl(host, "peers", "enable")
    first, second = device_id(one), device_id(two)
    for here, there in ((one, second), (two, first)):
        missionctl(here, "peers", "trust", there, "sync", "continue")
    for here, there in ((one, second), (two, first)):
        wait_state(here, there, "connected")
    return Two(lan, one, two, first, second)
