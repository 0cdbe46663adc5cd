# SPDX-License-Identifier: Apache-2.0
"""Two hosts on a network that may start each other's missions, and have programs that can go on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.fleet import INSIDE
from hosts.continuing import HERE
from hosts.devices import AGENT, device_id, missionctl, wait_state
from hosts.lan import Lan, has_address
from hosts.machine import Host
from hosts.people import alices_manager


class Mates(NamedTuple):
    """Both hosts and their device ids."""

    lan: Lan
    hosts: tuple[Host, Host]
    ids: tuple[str, str]


@contextlib.contextmanager
def mates(
    trees: tuple[Path, Path],
    programs: Mapping[str, Path],
    options: tuple[list[str], list[str]] = ([], []),
) -> Iterator[Mates]:
    """Boot them for as long as the block lasts; `programs` by where they are installed."""
    bench = f"--bind-ro={INSIDE}:/mnt/bench/inside"
    with contextlib.ExitStack() as stack:
        lan = stack.enter_context(Lan())
        one, two = (
            stack.enter_context(Host(tree, lan=lan, options=[bench, *more]))
            for tree, more in zip(trees, options, strict=True)
        )
        for host in (one, two):
            _ready(host, programs)
        first, second = device_id(one), device_id(two)
        for here, there in ((one, second), (two, first)):
            missionctl(here, "peers", "trust", there, "sync", "continue")
        for here, there in ((one, second), (two, first)):
            wait_state(here, there, "connected")
        yield Mates(lan, (one, two), (first, second))


def _ready(host: Host, programs: Mapping[str, Path]) -> None:
    host.systemctl("start", "systemd-networkd.service", "avahi-daemon.service")
    host.wait_for(partial(has_address, host), 30)
    host.wait_active(AGENT)
    alices_manager(host)
    for name, file in programs.items():
        host.run(["tee", name], stdin=file.read_text())
        host.run(["chmod", "755", name])
    host.run(["tee", "/tmp/go_on.py"], stdin=(HERE / "inside/go_on.py").read_text())
    missionctl(host, "peers", "enable")
