# SPDX-License-Identifier: Apache-2.0
"""Other hosts: how soon a change is seen there, and what peers cost on the wire, at rest and at work."""

from __future__ import annotations

import bisect
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

import pytest

from bench.board import Baseline, Board, Goal, Row
from bench.fleet import SERVICE, inside, process, script, switches
from bench.test_missions import in_session
from bench.twins import Twin, Twins
from hosts.client import main_pid
from hosts.devices import UNIT, remote, start, wait_equal, wait_state
from hosts.people import missions
from hosts.spawned import Spawned
from hosts.trees import SUITES, missing, package, tree

pytestmark = pytest.mark.timeout(600, func_only=True)

CHANGES, APART = 200, 0.6
LISTS = (10, 100, 1000)
SYNCS = 20
MANY, WORK = 100, 30
FEW, REST = 10, 150.0
PARTITIONS, PARTED = 6, 10.0


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    """One host of each release."""
    reason = missing()
    if reason is not None:
        pytest.fail(f"this machine can't measure: {reason}")
    deb = package(tmp_path_factory.mktemp("package"))
    both = Twins({release: tree("host", release, deb) for release in SUITES})
    try:
        yield both
    finally:
        both.close()


def hearing(twin: Twin, device: str) -> Spawned:
    """A listener there."""
    listener = twin.host.spawn(script("hear", device))
    assert listener.stdout.readline() == "ready\n"
    return listener


def heard(listener: Spawned, last: int) -> list[int]:
    """When it heard something, until after `last`."""
    times: list[int] = []
    while not times or times[-1] < last:
        times.append(int(listener.stdout.readline()))
    listener.close()
    return times


@pytest.mark.parametrize("place", [0, 1])
def test_a_change_here_is_heard_of_there(twins: Twins, board: Board, place: int) -> None:
    """Beside a listener on the host itself, which hears of the same changes."""
    here, there = twins.both[place], twins.both[1 - place]
    local, far = hearing(here, ""), hearing(there, here.device)
    changes = in_session(here.host, "changes", str(CHANGES), str(APART))
    assert changes.stdout.readline() == "begun\n"
    made = json.loads(changes.stdout.readline())
    figures = {}
    for name, listener in (("here", local), ("there", far)):
        times = heard(listener, made[-1])
        took = [times[bisect.bisect_left(times, moment)] - moment for moment in made]
        figures[name] = quantiles([each / 1e6 for each in took], n=100)
    for name, cut in (("p50", 49), ("p99", 98)):
        row = f"change on {here.release} to signal on {there.release} {name}"
        own = Baseline("signal on the host itself", figures["here"][cut])
        goal = Goal(100) if name == "p99" else None
        board.add(Row(there.release, row, figures["there"][cut], "ms", goal, own, digits=1))


def test_bytes_of_a_change_and_a_whole_list(twins: Twins, board: Board) -> None:
    here, there = twins.both
    for count in LISTS:
        crowd = in_session(there.host, "crowd", str(count), main_pid(there.host, SERVICE))
        assert crowd.stdout.readline() == "there\n"
        wait_equal(here.host, there.host, 20)
        before = here.wire()
        changes = in_session(there.host, "changes", "40", str(APART))
        assert changes.stdout.readline() == "begun\n"
        made = json.loads(changes.stdout.readline())
        spent = (here.wire() - before) / len(made)
        row = f"bytes on the wire of a change beside {count} missions"
        board.add(Row(here.release, row, spent, "B", Goal(1024), note="both ways, with headers"))
        if count == LISTS[-1]:
            took = inside(here.host, "resync", there.device, str(count), str(SYNCS))
            note = f"{min(took):.0f} to {max(took):.0f}"
            board.add(Row(here.release, f"whole list of {count}", median(took), "ms", Goal(200), note=note))
        crowd.close()
        there.host.wait_for(lambda: len(missions(there.host, None)) < 5, 30)


def test_after_ten_seconds_without_a_cable(twins: Twins, board: Board) -> None:
    """While both hosts get something to tell; each of them is cut off in turn."""
    took = []
    for turn in range(PARTITIONS):
        here, there = twins.both if turn % 2 else twins.both[::-1]
        twins.lan.cable(there.host.name, plugged=False)
        for twin in twins.both:
            start(twin.host, f"turn {turn}")
        time.sleep(PARTED)  # what is measured, not a wait for something
        assert all(f"turn {turn}" in [row.label for row in missions(twin.host, None)] for twin in twins.both)
        begun = time.monotonic()
        twins.lan.cable(there.host.name, plugged=True)
        wait_equal(here.host, there.host, 60)
        wait_equal(there.host, here.host, 60)
        took.append(time.monotonic() - begun)
    note = ", ".join(f"{each:.1f}" for each in took)
    board.add(
        Row(
            "both",
            f"in step after {PARTED:.0f} s without a cable",
            max(took),
            "s",
            Goal(3),
            note=note,
            digits=1,
        )
    )


def swarmed(twins: Twins, count: int, missions: int) -> tuple[Spawned, list[str]]:
    """So many simulated peers on the second host, all linked to the first, which has their lists."""
    here, there = twins.both
    swarm = there.host.spawn(script("swarm", str(count), str(missions), here.device, here.address))
    place = there.address.partition(":")[0]
    devices = json.loads(swarm.stdout.readline())
    for device, port in devices:
        here.trust(device, f"{place}:{port}")
    for device, _ in devices:
        wait_state(here.host, device, "connected")
        assert len(remote(here.host, device)) == missions
    return swarm, [device for device, _ in devices]


def test_at_rest_with_ten_peers(twins: Twins, board: Board) -> None:
    here = twins.both[0]
    swarm, devices = swarmed(twins, FEW, 100)
    daemons = {unit: process(here.host, unit) for unit in (UNIT, SERVICE)}
    time.sleep(20)  # what was begun comes to rest
    before = {unit: switches(directory) for unit, directory in daemons.items()}
    time.sleep(REST)  # what is measured, not a wait for something
    for unit, directory in daemons.items():
        count = switches(directory)[0] - before[unit][0]
        note = f"{count} context switches in {REST:.0f} s"
        board.add(
            Row(
                here.release,
                f"wake-ups of {unit}, {FEW} peers",
                count / REST,
                "/s",
                Goal(0.1),
                note=note,
                digits=3,
            )
        )
    forget(here, swarm, devices)


def forget(here: Twin, swarm: Spawned, devices: list[str]) -> None:
    """Back to what was."""
    for device in devices:
        here.host.run(["missionctl", "peers", "unpair", device])
    swarm.close()


def cpu(directory: Path) -> float:
    """Seconds of a processor that the process has used."""
    words = (directory / "stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def resident(directory: Path) -> dict[str, float]:
    """Memory in MB of 10^6 bytes."""
    lines = (directory / "status").read_text().splitlines()
    return {
        line.split()[0]: int(line.split()[1]) * 1.024e-3
        for line in lines
        if line.startswith(("VmRSS", "VmHWM", "RssAnon"))
    }


def test_a_hundred_peers_that_change_once_a_second(twins: Twins, board: Board) -> None:
    here = twins.both[0]
    swarm, devices = swarmed(twins, MANY, 1000)
    directory = process(here.host, UNIT)
    before, begun = cpu(directory), time.monotonic()
    swarm.stdin.write(f"{WORK}\n")
    assert swarm.stdout.readline() == "done\n"
    share = (cpu(directory) - before) / (time.monotonic() - begun) * 100
    memory = resident(directory)
    note = f"anonymous {memory['RssAnon:']:.1f}, peak {memory['VmHWM:']:.1f}"
    name = f"{MANY} peers x 1000 missions"
    board.add(
        Row(here.release, f"share of a processor, {name}, 1 change/s each", share, "%", Goal(5), digits=1),
        Row(here.release, f"RSS, {name}", memory["VmRSS:"], "MB", Goal(64), note=note, digits=1),
    )
    forget(here, swarm, devices)
