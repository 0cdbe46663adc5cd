# SPDX-License-Identifier: Apache-2.0
"""Tasks, missions and lists of three hosts for minutes or hours, with faults: nothing lost, nothing grows."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from hosts import client
from hosts.crowds import Beside
from hosts.devices import AGENT, UNIT
from soak.conftest import MINUTES
from soak.faults import FAULTS, Fault
from soak.samples import Growth, Samples

if TYPE_CHECKING:
    import pytest

    from hosts.machine import Host
    from hosts.spawned import Spawned
    from soak.mesh import Mesh

PERIOD = 5.0
"""Seconds from one fault to the next."""
PROGRAMS = 4
"""Missions of a host at a time, of which the oldest ends as another starts."""
SETTLED = 60.0
"""Seconds in which all is as it should be once there are no more faults."""
NOISE, NOISE_FDS = 3072, 8
"""KiB, and file descriptors, that a daemon may grow by in all its life, however long: work comes and goes."""


class Site:
    """One host with people at work, and two tasks that have to stay."""

    def __init__(self, host: Host, name: str) -> None:
        self.host = host
        self.name = name
        self.owner = host.spawn(["sleep", "infinity"], user="alice")
        self.task = client.start(host, self.owner, "voip", "dataTransfer")
        self.other = client.start(host, self.owner, "voip", options=("context", "s", "other"))
        self.kept = sorted(lock.why for lock in host.locks())
        self.outcomes: Counter[str] = Counter()
        self.twice: list[int] = []
        self._load = Beside(host, "load", user="alice")
        self._programs: list[Spawned] = []
        self._numbers = itertools.count()

    def turn(self) -> None:
        """One program more, and one less."""
        title = f"program {next(self._numbers)}"
        command = ["missionctl", "run", "--title", title, "--", "sleep", "6000"]
        self._programs.append(self.host.spawn(command, user="bob"))
        if len(self._programs) > PROGRAMS:
            self._programs.pop(0).close()

    def report(self) -> None:
        """Take in what the people at work saw."""
        found: dict[str, Any] = self._load.report()
        self.outcomes += Counter(found["outcomes"])
        self.twice += found["twice"]

    def missing(self) -> set[str]:
        """Locks that should be there."""
        return set(self.kept) - {lock.why for lock in self.host.locks()}

    def end(self) -> None:
        """Nobody works any more."""
        self.report()
        self._load.close()
        for program in self._programs:
            program.close()

    def check(self) -> None:
        """Exactly the two tasks are left, then none; nobody was told of a fault of ours."""
        host = self.host
        try:
            host.wait_for(lambda: sorted(lock.why for lock in host.locks()) == self.kept, SETTLED)
        except TimeoutError:
            said = host.journal(AGENT, "--lines=60")
            raise AssertionError(f"{self.name}: {host.locks()}, not {self.kept}\n{said}") from None
        host.wait_for(lambda: host.show(AGENT, "NFileDescriptorStore") == "2", SETTLED)
        host.wait_for(lambda: client.manager(host, "Degraded") == "as 0", SETTLED)
        assert self.twice == []
        self.owner.signal("KILL")
        host.wait_for(lambda: host.locks() == [])
        host.wait_for(lambda: host.show(AGENT, "NFileDescriptorStore") == "0")
        for unit in (AGENT, UNIT):
            log = host.journal(unit)
            assert "Traceback" not in log
            assert "internal error" not in log


def test_soak(mesh: Mesh, capsys: pytest.CaptureFixture[str]) -> None:
    sites = [Site(host, f"host {number}") for number, host in enumerate(mesh.hosts, 1)]
    samples = Samples()
    done: Counter[str] = Counter()
    lost: list[str] = []
    end = time.monotonic() + 60 * MINUTES
    # the daemons of the first host live on: what grows is seen there
    for turn, fault in enumerate(itertools.cycle(FAULTS)):
        if time.monotonic() > end:
            break
        begun = time.monotonic()
        site = _victim(sites, fault, turn)
        fault.do(mesh, site.host)
        done[fault.name] += 1
        for each in sites:
            each.turn()
            each.report()
            samples.look(each.host, each.name)
        for each in sites:
            each.host.wait_active()
            if missing := _after_a_while(each):
                lost.append(f"{each.name} after {fault.name}: {missing}")
        time.sleep(max(0.0, PERIOD - (time.monotonic() - begun)))  # a fault every so often
    for each in sites:
        each.end()
    growth = samples.growth()
    with capsys.disabled():
        print(_table(growth, done, sites, lost))
    mesh.wait_equal(SETTLED)
    for each in sites:
        each.check()
    assert lost == []
    assert [each.name for each in growth if _grows(each)] == []


def _victim(sites: list[Site], fault: Fault, turn: int) -> Site:
    others = sites[1:] if fault.fatal else sites
    return others[turn % len(others)]


def _after_a_while(site: Site) -> set[str]:
    """What is missing even after logind had time to give it back."""
    try:
        site.host.wait_for(lambda: not site.missing(), 15)
    except TimeoutError:
        return site.missing()
    return set()


def _grows(growth: Growth) -> bool:
    grown = growth.kilobytes_a_minute * growth.minutes, growth.fds_a_minute * growth.minutes
    return grown[0] > NOISE or grown[1] > NOISE_FDS


def _table(growth: list[Growth], done: Counter[str], sites: list[Site], lost: list[str]) -> str:
    lines = [f"\n{MINUTES:g} minutes, {sum(done.values())} faults: {dict(done)}"]
    lines += [f"{site.name}: {sum(site.outcomes.values())} calls {dict(site.outcomes)}" for site in sites]
    lines.append(
        f"{'daemon':24}{'lives':>6}{'minutes':>9}{'RSS KiB':>18}{'KiB/min':>9}{'fds':>11}{'fds/min':>9}"
    )
    lines += [
        f"{each.name:24}{each.lives:6}{each.minutes:9.1f}{each.kilobytes[0]:9} ->{each.kilobytes[1]:6}"
        f"{each.kilobytes_a_minute:9.1f}{each.fds[0]:5} ->{each.fds[1]:3}{each.fds_a_minute:9.2f}"
        for each in growth
    ]
    lines.append(f"lost: {lost or 'nothing'}")
    return "\n".join(lines)
