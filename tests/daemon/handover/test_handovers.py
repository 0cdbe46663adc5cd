# SPDX-License-Identifier: Apache-2.0
"""Two agents hand missions over: the disk is real, and daemons may die at each point of it."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from missiond.core.missions.missions import Leader
from missiond.daemon.handover.state_requests import Outcome, StateAnswer, copy
from missiond.errors import (
    AgentError,
    ContinueInProgress,
    DistributedServiceFailed,
    PermissionDenied,
    RemoteNotInstalled,
)
from missiond.host.processes.procfs import ProcDirectory
from missiond.host.user_database import USERS
from missiond.store import handover_state_files
from standins.worlds.handover_sides import APP, A, B, Side, World

pytestmark = pytest.mark.timeout(60)
FAILED = 16300501


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    for device, peer in ((A, B), (B, A)):
        Side(made, device, peer)
    for side in made.sides.values():
        await side.start()
    yield made
    for side in made.sides.values():
        await side.close()


@pytest.fixture
def source(world: World) -> Side:
    return world.sides[A]


@pytest.fixture
def target(world: World) -> Side:
    return world.sides[B]


async def settled(world: World) -> None:
    """Wait until nothing is in flight on either side, and nothing ready to be started."""
    async with asyncio.timeout(15):
        while any(s.handovers.in_flight() or left(s) or s.ready for s in world.sides.values()):
            await asyncio.sleep(0.005)


def left(side: Side) -> list[str]:
    """Files of hand-overs."""
    return sorted(path.name for path in (side.directory / "state").iterdir() if path.name != "fences.json")


def sleeping(umask: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], umask=umask)


def end(program: subprocess.Popen[bytes]) -> None:
    """It is over, and its parent has not waited for it."""
    os.kill(program.pid, signal.SIGKILL)  # Popen's own would wait for it
    os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)


async def test_pushed(world: World, source: Side, target: Side) -> None:
    await source.push(source.begin())
    assert await source.until_told() == (1, 0, "")
    await settled(world)
    assert world.running == [(B, b"4711")]
    assert list(dict.fromkeys(source.phases)) == ["offered", "asked", "sending", "stopping", "committed"]
    async with asyncio.timeout(5):  # what is said comes after what is removed
        while (len(source.changes), len(target.changes)) != (2, 2):
            await asyncio.sleep(0.005)
    assert target.begun_ready == 1


@pytest.mark.parametrize("taken_back", [False, True])
async def test_its_umask_goes_along(world: World, source: Side, target: Side, taken_back: bool) -> None:
    """And back, where what was ended is never waited for by its parent."""
    if taken_back:
        target.refuses = DistributedServiceFailed("no")
    with sleeping(umask=0o077) as program:
        with ProcDirectory(program.pid) as directory:
            source.leader = Leader(program.pid, directory.start_ticks())
        mission = source.begin()
        source.leader = None
        world.at = lambda _device, what: end(program) if what == "start" else None
        await source.push(mission)
        await source.until_told()
        await settled(world)
        program.kill()
    assert (source.umasks, target.umasks) == (([0o077], []) if taken_back else ([], [0o077]))


@pytest.mark.parametrize("taken_back", [False, True])
async def test_the_home_has_another_name_there(
    world: World, source: Side, target: Side, monkeypatch: pytest.MonkeyPatch, taken_back: bool
) -> None:
    monkeypatch.setattr(USERS, "home_of", lambda _: "/home/ann")
    if taken_back:
        target.refuses = DistributedServiceFailed("no")
    source.cwd = "/home/ann/src"
    await source.push(source.begin())
    await source.until_told()
    await settled(world)
    found = (source.directories, target.directories)
    assert found == ((["/home/ann/src"], []) if taken_back else ([], ["/var/home/ann/src"]))


async def test_pulled_by_number_and_application_and_back(world: World, source: Side, target: Side) -> None:
    mission = source.begin()
    await target.pull(mission.id)
    assert await target.until_told() == (1, 0, "")
    await settled(world)
    assert world.running == [(B, b"4711")]
    await source.pull(0, APP)
    assert await source.until_told() == (1, 0, "")
    await settled(world)
    assert world.running == [(A, b"4711")]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (StateAnswer(Outcome.REFUSED), "refused"),
        (StateAnswer(Outcome.NOBODY), "left before it answered"),
        (StateAnswer(Outcome.SILENT), "did not answer in time"),
        (DistributedServiceFailed("no"), "no"),
    ],
)
async def test_without_its_state(
    world: World, source: Side, answer: StateAnswer | AgentError, reason: str
) -> None:
    source.answer = answer
    await source.push(source.begin())
    _, code, why = await source.until_told()
    assert (code, reason in why) == (FAILED, True)
    await settled(world)
    assert world.running == [(A, b"4711")]


def filed(state: bytes, directory: Path) -> StateAnswer:
    """What a program says that has its state in a file."""
    fd = os.memfd_create("large")
    os.write(fd, state)
    return StateAnswer(Outcome.AGREED, file=copy(fd, directory, 4 << 20))


@pytest.mark.parametrize("size", [300_000, 3_000_000])
@pytest.mark.parametrize("adopted", [True, False])
async def test_a_state_that_comes_as_a_file(
    world: World, source: Side, target: Side, monkeypatch: pytest.MonkeyPatch, size: int, adopted: bool
) -> None:
    """One that is large is got ready while the source ends its program."""
    if not adopted:
        monkeypatch.setattr(handover_state_files, "adopt_file", lambda _directory, _transfer, _fd: False)
    state = os.urandom(size)
    source.answer = filed(state, source.directory / "state")
    await source.push(source.begin())
    assert (await source.until_told())[1] == 0
    await settled(world)
    assert world.running == [(B, state)]
    assert target.begun_ready == 1


async def test_a_mission_is_not_stopped_before_its_state_is_on_the_disk(
    world: World, source: Side, target: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target is prepared before it is, and says so twice."""
    gate = threading.Event()
    monkeypatch.setattr(handover_state_files, "settle", lambda _directory, _fd: gate.wait(10))
    source.answer = filed(b"x" * 300_000, source.directory / "state")
    await source.push(source.begin())
    async with asyncio.timeout(10):
        while "prepared" not in [each.record.phase.value for each in target.handovers.in_flight()]:
            await asyncio.sleep(0.005)
    await asyncio.sleep(1.2)  # longer than until it says so again: nothing may come of that
    assert (source.phases[-1], world.running) == ("sending", [(A, b"4711")])
    gate.set()
    assert (await source.until_told())[1] == 0
    await settled(world)
    assert world.running == [(B, b"x" * 300_000)]


async def test_a_disk_that_does_not_take_the_state_at_the_source(
    world: World, source: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_directory: int, _fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(handover_state_files, "settle", fails)
    source.answer = filed(b"x" * 300_000, source.directory / "state")
    await source.push(source.begin())
    assert await source.until_told() == (1, FAILED, "the state can't be kept: Input/output error")
    await settled(world)
    assert world.running == [(A, b"4711")]


async def test_a_start_waits_for_what_is_being_got_ready(world: World, source: Side, target: Side) -> None:
    """Of a large state it is a copy, which is not made twice."""
    target.ready_takes = 0.5
    source.answer = filed(b"x" * 3_000_000, source.directory / "state")
    await source.push(source.begin())
    assert (await source.until_told())[1] == 0
    assert world.running == [(B, b"x" * 3_000_000)]
    assert target.begun_ready == 1


async def test_no_room_for_a_state(world: World, source: Side, target: Side) -> None:
    target.no_room = DistributedServiceFailed("no room")
    source.answer = filed(b"x" * 3_000_000, source.directory / "state")
    await source.push(source.begin())
    assert await source.until_told() == (1, FAILED, "no room")
    await settled(world)
    assert world.running == [(A, b"4711")]


async def test_refused_there(world: World, source: Side, target: Side) -> None:
    target.check = RemoteNotInstalled("not there")
    await source.push(source.begin())
    assert await source.until_told() == (1, 16300503, "not there")
    await settled(world)
    assert world.running == [(A, b"4711")]


@pytest.mark.parametrize("pull", [False, True])
async def test_who_refuses_is_said(world: World, source: Side, target: Side, pull: bool) -> None:
    """Where "here" is, in what the other host says, only its name tells."""
    for side, name in ((source, "desk"), (target, "laptop")):
        side.peer_name = name
    mission = source.begin()
    if pull:
        source.answer = StateAnswer(Outcome.REFUSED, b"", reason="it is not done here")
        await target.pull(mission.id)
        assert await target.until_told() == (1, FAILED, "laptop: it is not done here")
    else:
        target.check = RemoteNotInstalled("it is not here")
        await source.push(mission)
        assert await source.until_told() == (1, 16300503, "desk: it is not here")
    await settled(world)


async def test_what_the_other_host_could_not_do_is_its_word(world: World, source: Side, target: Side) -> None:
    source.peer_name = "desk"
    source.tasks, target.refuses_tasks = ["location"], {"location"}
    await source.push(source.begin())
    assert await source.until_told() == (1, 0, "desk: location: no")
    await settled(world)


async def test_installed_there_first(world: World, source: Side, target: Side) -> None:
    target.installs = (0, 42, 40, 100)
    await source.push(source.begin(), free_install=True)
    assert await source.until_told() == (1, 0, "")
    await settled(world)
    assert source.installed == target.installed == [0, 42, 100]
    assert world.running == [(B, b"4711")]


async def test_not_permitted(world: World, source: Side, target: Side) -> None:
    world.permissions[A] = ["sync"]
    mission = source.begin()
    await source.push(mission)
    _, code, why = await source.until_told()
    assert (code, "'continue'" in why) == (FAILED, True)
    world.permissions = {A: ["sync", "continue"], B: ["sync"]}
    await target.pull(mission.id)
    _, code, why = await target.until_told()
    assert (code, "'continue'" in why) == (FAILED, True)
    await settled(world)
    assert world.running == [(A, b"4711")]


async def test_a_peer_unit_is_not_believed_alone(world: World, source: Side) -> None:
    world.permitted.clear()
    await source.push(source.begin())
    _, code, why = await source.until_told()
    assert (code, "'continue'" in why) == (FAILED, True)
    await settled(world)
    assert world.running == [(A, b"4711")]


async def test_one_at_a_time_and_what_can_t_go(world: World, source: Side) -> None:
    mission = source.begin()
    await source.push(mission)
    with pytest.raises(ContinueInProgress):
        await source.push(mission, 2)
    mission.registration = None
    with pytest.raises(DistributedServiceFailed, match="did not say that it can"):
        await source.push(mission, 3)
    locked = source.begin()
    locked.locked = True
    with pytest.raises(PermissionDenied, match="locked"):
        await source.push(locked, 4)


async def test_a_mission_that_can_t_be_stopped_or_started(world: World, source: Side, target: Side) -> None:
    source.stop_fails = DistributedServiceFailed("it stays")
    mission = source.begin()
    await source.push(mission)
    _, code, why = await source.until_told()
    assert (code, "it stays" in why) == (FAILED, True)
    source.stop_fails = None
    [stranded] = source.handovers.in_flight()
    await source.handovers.reclaim(stranded.record.transfer)
    await settled(world)
    assert [where for where, _ in world.running] == [A]
    assert target.begun_ready == 0
    source.told.clear()
    target.refuses = DistributedServiceFailed("no such interpreter")
    await source.push(next(iter(source.table)), 2)
    assert await source.until_told() == (2, FAILED, "no such interpreter")
    await settled(world)
    assert world.running == [(A, b"4711")]


async def test_a_program_that_ends_a_moment_after_its_start(world: World, source: Side, target: Side) -> None:
    """It is started again where it was; where that is no use either, its state is kept."""
    target.ends_early = True
    await source.push(source.begin())
    code, why = (await source.until_told())[1:]
    assert (code, "after it was started, with exit status 1" in why) == (FAILED, True)
    await settled(world)
    assert world.running == [(A, b"4711")]
    assert [unit.partition("@")[0] for unit in target.cleared] == [f"app-missiond-{APP}"]
    source.told.clear()
    source.ends_early = True
    await source.push(next(iter(source.table)), 2)
    assert "here it could not be started again: its program ended" in (await source.until_told())[2]
    assert world.running == []
    [stranded] = source.handovers.in_flight()
    source.ends_early = False
    await source.handovers.reclaim(stranded.record.transfer)
    await settled(world)
    assert world.running == [(A, b"4711")]


async def test_what_can_t_be_started_anywhere_can_be_dropped(
    world: World, source: Side, target: Side
) -> None:
    target.ends_early = source.ends_early = True
    await source.push(source.begin())
    await source.until_told()
    [stranded] = source.handovers.in_flight()
    assert stranded.record.phase == "stranded"
    await source.handovers.drop(stranded.record.transfer)
    await settled(world)
    assert source.handovers.in_flight() == target.handovers.in_flight() == []
    assert world.running == []
    await source.crash()
    await source.start()
    await settled(world)
    assert (source.handovers.in_flight(), world.running) == ([], [])


async def test_a_program_that_registers_itself_has_settled(world: World, source: Side, target: Side) -> None:
    target.settle_seconds = 3600
    await target.crash()
    await target.start()
    await source.push(source.begin())
    assert (await source.until_told())[1] == 0
    assert world.running == [(B, b"4711")]


@pytest.mark.slow
@pytest.mark.parametrize("point", ["start", "write failed", "written failed", "send refused", "sent refused"])
@pytest.mark.parametrize("victim", [A, B])
async def test_a_daemon_that_dies_while_a_program_ends(
    world: World, source: Side, target: Side, point: str, victim: str
) -> None:
    target.ends_early = True
    dead: list[asyncio.Task[None]] = []

    async def die() -> None:
        await world.sides[victim].crash()
        await asyncio.sleep(0.1)  # the program ends meanwhile
        await world.sides[victim].start()

    def strike(where: str, what: str) -> None:
        if (where, what) == (B, point) and not dead:
            dead.append(asyncio.get_running_loop().create_task(die()))

    world.at = strike
    await source.push(source.begin())
    assert (await asyncio.wait_for(source.until_told(), 10))[1] == FAILED
    await dead[0]
    await settled(world)
    assert world.running == [(A, b"4711")]
    assert len(target.started) == 1, "started again though it had failed"


async def test_tasks_go_along(world: World, source: Side, target: Side) -> None:
    """Their locks are held when the program starts; what the target refuses is said."""
    source.tasks = ["voip", "location"]
    target.refuses_tasks = {"location"}
    await source.push(source.begin())
    assert await source.until_told() == (1, 0, "location: no")
    assert (target.locked_at_start, target.adopted) == (["voip", "location"], ["voip"])
    await settled(world)
    assert target.locks == source.locks == {}


@pytest.mark.parametrize("pull", [False, True])
async def test_tasks_that_are_required(world: World, source: Side, target: Side, pull: bool) -> None:
    source.tasks = ["voip"]
    target.refuses_tasks = {"voip"}
    mission = source.begin()
    asker = target if pull else source
    await (asker.pull(mission.id, tasks="require") if pull else source.push(mission, tasks="require"))
    code, why = (await asker.until_told())[1:]
    assert (code, "can't all go along: voip: no" in why) == (FAILED, True)
    assert world.running == [(A, b"4711")]
    await settled(world)
    asker.told.clear()
    await (
        asker.pull(mission.id, number=2, tasks="without")
        if pull
        else source.push(mission, 2, tasks="without")
    )
    assert (await asker.until_told())[1:] == (0, "")
    assert (target.locked_at_start, target.adopted) == ([], [])


async def test_tasks_come_back_with_what_could_not_be_started(
    world: World, source: Side, target: Side
) -> None:
    source.tasks = ["voip"]
    target.refuses = DistributedServiceFailed("no such interpreter")
    await source.push(source.begin())
    assert (await source.until_told())[1] == FAILED
    await settled(world)
    assert (source.locked_at_start, source.adopted) == (["voip"], ["voip"])
    assert target.locks == source.locks == {}


async def test_a_copy(world: World, source: Side) -> None:
    await source.push(source.begin(), keep_source=True)
    assert (await source.until_told())[1] == 0
    assert sorted(world.running) == [(A, b"4711"), (B, b"4711")]


async def test_reclaimed_and_dropped(world: World, source: Side, target: Side) -> None:
    def cut(device: str, what: str) -> None:
        if (device, what) == (A, "written committed"):
            world.linked = False
            for side in world.sides.values():
                side.link(up=False)

    world.at = cut
    await source.push(source.begin())
    async with asyncio.timeout(10):
        while world.linked or not any(each.can_reclaim for each in source.handovers.in_flight()):
            await asyncio.sleep(0.005)
    assert world.running == []
    [there] = target.handovers.in_flight()
    assert there.in_doubt
    await target.handovers.drop(there.record.transfer)
    assert not target.handovers.in_flight()
    [here] = source.handovers.in_flight()
    await source.handovers.reclaim(here.record.transfer)
    assert await source.until_told() == (1, FAILED, "it was reclaimed")
    await settled(world)
    assert world.running == [(A, b"4711")]


def points(verbs: tuple[str, str], words: tuple[str, ...]) -> list[str]:
    return [f"{verb} {word}" for word in words for verb in verbs]


WRITES, SENDS = ("write", "written"), ("send", "sent")
POINTS = [
    *points(WRITES, ("offered", "stopping", "committed", "ended")),
    *points(SENDS, ("offer", "state", "commit", "settled")),
    "state",
]
POINTS_OF_TARGET = [
    *points(WRITES, ("prepared", "committed", "started")),
    *points(SENDS, ("accepted", "prepared", "started")),
    "start",
]
RECORDS = {A: ("offered", "stopping", "committed", "ended"), B: ("prepared", "committed", "started")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "point"), [*((A, each) for each in POINTS), *((B, each) for each in POINTS_OF_TARGET)]
)
@pytest.mark.parametrize("victim", [A, B])
@pytest.mark.parametrize("large", [False, True])
async def test_a_daemon_that_dies(
    world: World, source: Side, device: str, point: str, victim: str, large: bool
) -> None:
    """Wherever either dies: once it is back exactly one runs, with its state; who waits is told once."""
    state = b"4711"
    if large:
        state = b"4711" * 500_000
        source.answer = filed(state, source.directory / "state")
    side = world.sides[victim]
    dead: list[asyncio.Task[None]] = []

    async def die() -> None:
        await side.crash()
        await asyncio.sleep(0.05)
        await side.start()

    def strike(where: str, what: str) -> None:
        if (where, what) == (device, point) and not dead:
            dead.append(asyncio.get_running_loop().create_task(die()))

    world.at = strike
    mission = source.begin(state)
    begun = True
    try:
        await source.push(mission)
    except asyncio.CancelledError:
        begun = bool(left(source))  # else the call failed, and nothing came of it
    if point == "written ended" and not dead:
        return
    async with asyncio.timeout(10):
        while not dead or not dead[0].done():
            await asyncio.sleep(0.005)
    dead[0].result()
    await settled(world)
    if not begun and not source.told:
        assert world.running == [(A, state)]
        return
    _, code, why = await asyncio.wait_for(source.until_told(), 5)
    assert world.running == [(A if code else B, state)], (code, why)
    assert len({told[1] for told in source.told}) == 1


@pytest.mark.parametrize(
    ("device", "phase"), [(device, phase) for device, phases in RECORDS.items() for phase in phases]
)
async def test_a_disk_that_is_full(world: World, source: Side, device: str, phase: str) -> None:
    world.sides[device].full = phase
    await source.push(source.begin())

    def free(where: str, what: str) -> None:
        if where == device and what.startswith("write "):
            asyncio.get_running_loop().call_later(0.05, setattr, world.sides[device], "full", "")

    world.at = free
    _, code, _ = await asyncio.wait_for(source.until_told(), 10)
    await settled(world)
    assert world.running == [(A if code else B, b"4711")]
