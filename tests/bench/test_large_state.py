# SPDX-License-Identifier: Apache-2.0
"""How fast a large state gets from one host to another, against TLS alone between the same two hosts.

What is timed begins when the program has its state in a file and says so to its agent, and ends when the
agent of the other host tells that it is prepared: then the state is there, was compared with its checksum, is
on the disk, and the log says so. The other is the time from the first byte given to TLS to the answer that
the last one was taken, with nothing read from or written to a disk. They take turns.

The way alone is from the moment at which the other host hears of the state to the one at which it has told
its caller of the last byte, which is with the kernel then.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import tempfile
from pathlib import Path

import pytest

from bench.board import Baseline, Board, Goal, Row
from bench.fleet import INSIDE, script
from bench.mates import Mates, mates
from hosts.continuing import LARGE, Going, listed, of, running
from hosts.machine import Host
from hosts.trees import SUITES, missing, package, tree

pytestmark = pytest.mark.timeout(900, func_only=True)
TURNS = int(os.environ.get("MISSIOND_BENCH_TURNS", "20"))
SIZE = 50_000_000
LEAST = 0.7
"""Share of the throughput of TLS alone."""
HANDED = "/var/tmp/large/handed"
LINKS = {"a bridge in memory": None, "1 Gbit/s": "1gbit"}


class Took(list[float]):
    """Seconds. The best counts: other work on the machine only ever makes it more."""

    @property
    def milliseconds(self) -> float:
        """That."""
        return 1000 * min(self)

    @property
    def speed(self) -> float:
        """MB/s of that."""
        return SIZE / 1000 / self.milliseconds

    def row(self, release: str, what: str, alone: Took) -> Row:
        """Against TLS alone."""
        share, middle = self.speed / alone.speed, statistics.median(alone) / statistics.median(self)
        note = f"{self.speed:.0f} MB/s, {alone.speed:.0f} MB/s: {share:.2f} of it, {middle:.2f} in the middle"
        baseline = Baseline("TLS alone", alone.milliseconds)
        return Row(release, what, self.milliseconds, "ms", Goal(1 / LEAST, times=True), baseline, note)


def handed_over(it: Mates, place: int) -> tuple[float, float]:
    """Seconds until all of it is on the disk of the other host, which fetches the mission, and of its way."""
    here, there = it.hosts[place], it.hosts[1 - place]
    going = Going(there, it.ids[place], it.ids[1 - place], of(here, LARGE))
    until = going.until("prepared")[-1]
    way = [line for line in going.said if line[0] == "receiving"]
    assert way[-1][1] == SIZE
    begun = float(here.run(["cat", HANDED]).stdout)
    assert going.end() == (0, "")
    for host in it.hosts:
        host.wait_for(lambda host=host: not listed(host))  # type: ignore[misc]
    assert [len(running(host, LARGE)) for host in (here, there)] == [0, 1]
    of(there, LARGE)  # it has found its state whole, or would have ended
    return float(until) - begun, float(way[-1][-1]) - float(way[0][-1])


def alone(here: Host, address: str, port: str) -> list[float]:
    """Seconds that TLS takes."""
    done = here.run(script("raw_tls", "give", str(SIZE), address, port, "2"), timeout=60)
    return [float(each) for each in json.loads(done.stdout)]


def address(host: Host) -> str:
    """Where the other one reaches it."""
    shown = host.run(["networkctl", "--no-pager", "status", "host0"]).stdout
    return str(re.findall(r"169\.254\.\d+\.\d+", shown)[0])


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("release", SUITES)
def test_a_large_state(
    board: Board, release: str, link: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """There and back again, so that it is always the other host that gets it; the disk is this machine's."""
    reason = missing()
    if reason is not None:
        pytest.fail(f"this machine can't measure: {reason}")
    directory = tree("host", release, package(tmp_path_factory.mktemp("package")))
    whole, way, raw = Took(), Took(), Took()
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as one,
        tempfile.TemporaryDirectory(dir="/var/tmp") as two,
        mates((directory, directory), {LARGE: INSIDE / "large.py"}, (_disk(one), _disk(two))) as it,
    ):
        for host in it.hosts:
            if LINKS[link] is not None:
                it.lan.slow(host.name, LINKS[link])
        ports = []
        for host in it.hosts:
            taking = host.spawn(script("raw_tls", "take", str(SIZE)))
            ports.append(taking.stdout.readline().strip())
        it.hosts[0].spawn(["/usr/bin/python3", LARGE, str(SIZE)], user="alice")
        for turn in range(TURNS):
            place = turn % 2
            here, there = it.hosts[place], it.hosts[1 - place]
            raw += alone(here, address(there), ports[1 - place])
            for took, seconds in zip((whole, way), handed_over(it, place), strict=True):
                took.append(seconds)
    board.add(
        whole.row(release, f"50 MB of state from a program to the other host's disk, {link}", raw),
        way.row(release, f"50 MB of state on its way, {link}", raw),
    )


def _disk(directory: str) -> list[str]:
    """A place on a disk for what has to be durable; a host's own is memory."""
    Path(directory).chmod(0o755)
    return [f"--bind={directory}:/var/lib/missiond"]
