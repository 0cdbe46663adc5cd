# SPDX-License-Identifier: Apache-2.0
"""Services that are started again, with managers that say what a test wants and real processes."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from missiond.core.keepalive.service_restart import ServiceState
from missiond.core.tasks.continuous import ContinuousTask
from missiond.core.tasks.lease import Cause
from missiond.core.tasks.modes import BackgroundMode
from missiond.core.tasks.owner import App, Owner
from missiond.daemon.keepalive import restart_waiter
from missiond.daemon.keepalive import service_restarts as restarts_module
from missiond.daemon.tasks.continuous import TaskRequest
from missiond.errors import (
    AgentError,
    ContinuousTaskVerificationFailed,
    InvalidParameter,
    SystemServiceFailed,
)
from missiond.host.processes.processes import inspect
from missiond.host.processes.tree import Member
from missiond.host.systemd.unit_managers import ManagersMissing, NotAnswered
from standins.services.unit_managers import FAILED, RUNNING, STOPPED, WAITING
from standins.worlds.lease_world import World

MODES = (BackgroundMode.DATA_TRANSFER,)
RESTART = TaskRequest(keep_alive="restart")
CGROUP = "user.slice/user-7.slice/user@7.service/app.slice/a.service"


@pytest.fixture
def process() -> Iterator[Callable[[], Owner]]:
    """Start processes that can be main processes of a.service."""
    started = []

    def start() -> Owner:
        started.append(subprocess.Popen(["sleep", "60"]))
        found = inspect(started[-1].pid)
        return Owner(found.pid, found.start_ticks, App(found.uid, "a"), None, "a.service")

    yield start
    for each in started:
        each.kill()
        each.wait(timeout=10)


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(restarts_module, "look", lambda pid: Member(pid, 1, 1, 0, CGROUP))
    monkeypatch.setattr(restart_waiter, "SHORTEST", 0.01)
    monkeypatch.setattr(restart_waiter, "LONGEST", 0.02)
    monkeypatch.setattr(restart_waiter, "SHORT", 0.01)
    made = World(tmp_path)
    await made.boot()
    yield made
    made.managers.error = made.managers.keep_error = None
    for lease in list(made.leases):  # of a test that failed: it would be waited for
        made.leases.release(lease, Cause.CANCELLED)
    await made.end()
    assert not list((made.runtime / "restart").glob("*"))


async def begin(world: World, owner: Owner, wish: TaskRequest = RESTART) -> ContinuousTask:
    """A task of a service that runs."""
    world.managers.state = replace(world.managers.state, main_pid=owner.pid, active="active", sub="running")
    return await world.running.start(MODES, owner, owner.app, wish)


def die(world: World, owner: Owner) -> None:
    """Let the process end, and systemd wait before it starts the next one."""
    world.managers.state = WAITING
    world.processes.die(owner)


async def back(world: World, owner: Owner) -> None:
    """Let systemd have started the next one, and wait for what follows."""
    world.managers.state = replace(RUNNING, restart="always", main_pid=owner.pid)
    while world.restarts._waiting:
        await asyncio.sleep(0.005)
    await world.calm()


async def test_it_goes_on_with_the_next_process(world: World, process: Callable[[], Owner]) -> None:
    owners = [process() for _ in range(3)]
    task = await begin(world, owners[0])
    assert world.managers.calls == ["show a.service", "keep a.service"]
    for number, (old, new) in enumerate(pairwise(owners), 1):
        die(world, old)
        await world.managers.asked()
        await world.managers.asked()
        assert task.owner == old
        [lock] = world.logind.held()
        assert f"pid {old.pid}" in lock.who
        world.bus.changes.clear()
        await back(world, new)
        assert (task.owner, task.restarts) == (new, number)
        assert ("Pid", "Restarts") in world.bus.changes
        [lock] = world.logind.held()
        assert f"pid {new.pid}" in lock.who
    assert world.leases.continuous.get(1) is task
    assert not world.bus.ended
    world.running.cancel(task)
    await world.calm()
    assert world.managers.calls[-1] == "unkeep a.service"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (STOPPED, []),
        (replace(STOPPED, load="not-found"), []),
        (replace(FAILED, result="exit-code"), ["the service ended too often, and systemd gave it up"]),
        (replace(FAILED, restart="no", result="exit-code"), ["the service ended, and is not started again"]),
    ],
)
async def test_it_ends_with_the_service(
    world: World, process: Callable[[], Owner], state: object, said: list[str]
) -> None:
    owner = process()
    await begin(world, owner)
    die(world, owner)
    await world.managers.asked()
    world.managers.state = state  # type: ignore[assignment]
    await world.calm()
    assert world.bus.ended == {("ContinuousTaskCancel", 1): 1}
    assert [any(text in failure for text in said) for failure in world.bus.failures] == [True] * len(said)
    assert world.logind.held() == []
    assert world.managers.calls[-1] == "unkeep a.service"


async def test_its_own_restart_is_enough(world: World, process: Callable[[], Owner]) -> None:
    world.managers.state = replace(RUNNING, restart="on-failure")
    owner, new = process(), process()
    await begin(world, owner)
    die(world, owner)
    await back(world, new)
    world.managers.state = STOPPED
    world.processes.die(new)
    await world.calm()
    assert {call.split()[0] for call in world.managers.calls} == {"show"}


async def test_two_tasks_of_a_service(world: World, process: Callable[[], Owner]) -> None:
    owner, new = process(), process()
    first, second = await begin(world, owner), await begin(world, owner, replace(RESTART, context="b"))
    world.running.cancel(first)
    await world.calm()
    assert world.managers.state.restart == "always"
    die(world, owner)
    await back(world, new)
    assert second.owner == new
    world.running.cancel(second)
    third = await begin(world, new)  # before what the second had is taken back
    await world.calm()
    assert world.managers.state.restart == "always"
    world.running.cancel(third)
    await world.calm()
    assert world.managers.state.restart == "no"
    assert world.managers.calls.count("keep a.service") == 1


async def test_a_task_that_is_cancelled_meanwhile(world: World, process: Callable[[], Owner]) -> None:
    owner = process()
    task = await begin(world, owner)
    die(world, owner)
    await world.managers.asked()
    world.running.cancel(task)
    await world.calm()
    assert world.bus.ended == {("ContinuousTaskCancel", 1): 1}
    assert world.managers.calls[-1] == "unkeep a.service"


async def test_a_process_that_is_gone_again_or_not_yet_the_users(
    world: World, process: Callable[[], Owner], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, short, new = process(), process(), process()
    task = await begin(world, owner)
    os.kill(short.pid, signal.SIGKILL)
    await asyncio.to_thread(os.waitid, os.P_PID, short.pid, os.WEXITED | os.WNOWAIT)
    die(world, owner)
    world.managers.state = replace(RUNNING, restart="always", main_pid=short.pid)
    await world.managers.asked()
    others = replace(inspect(new.pid), uid=new.uid + 1)
    monkeypatch.setattr(restart_waiter, "inspect", lambda _pid: others)
    world.managers.state = replace(RUNNING, restart="always", main_pid=new.pid)
    await world.managers.asked()
    await world.managers.asked()
    assert task.owner == owner
    monkeypatch.setattr(restart_waiter, "inspect", inspect)
    await back(world, new)
    assert task.owner == new
    world.processes.dead.add(new.pid)
    last = process()
    die(world, new)
    await back(world, last)
    assert (task.owner, task.restarts) == (last, 2)
    world.running.cancel(task)


async def test_a_crash_loop_that_is_slow(world: World, process: Callable[[], Owner]) -> None:
    world.restarts.configure(restarts_module.Limit(2, 600_000))
    owners = [process() for _ in range(4)]
    await begin(world, owners[0])
    for old, new in pairwise(owners[:3]):
        die(world, old)
        await back(world, new)
    die(world, owners[2])
    await world.calm()
    assert world.bus.ended == {("ContinuousTaskCancel", 1): 1}
    assert "more than 2 times in 600 s, a crash loop" in world.bus.failures[0]


async def test_one_that_does_not_come_back(world: World, process: Callable[[], Owner]) -> None:
    owner = process()
    await begin(world, owner)
    die(world, owner)
    await world.managers.asked()
    world.clock.advance(restart_waiter.PATIENCE + 1)
    await world.calm()
    assert "did not come back within 10 min" in world.bus.failures[0]


@pytest.mark.parametrize("error", [ManagersMissing("none"), NotAnswered("ETIMEDOUT")])
async def test_a_manager_that_can_not_be_asked(
    world: World, process: Callable[[], Owner], error: Exception
) -> None:
    owner, new = process(), process()
    task = await begin(world, owner)
    world.managers.error = error
    die(world, owner)
    await world.managers.asked()
    await world.managers.asked()
    assert bool(world.degraded) is isinstance(error, ManagersMissing)
    world.managers.error = None
    await back(world, new)
    assert not world.degraded
    world.managers.error = error
    die(world, new)
    await world.managers.asked()
    world.clock.advance(restart_waiter.WITHOUT_ANSWER + 1)
    while world.leases.is_live(task):
        await asyncio.sleep(0.005)
    await world.calm()
    assert "may run or not" in world.bus.failures[0]
    # What could not be taken back is, with the next task at the latest.
    world.managers.error = None
    third = process()
    other = await begin(world, third)
    world.running.cancel(other)
    await world.calm()
    assert world.managers.state.restart == "no"


async def test_the_end_of_the_manager(world: World, process: Callable[[], Owner]) -> None:
    owner = process()
    await begin(world, owner)
    world.managers.error = NotAnswered("ECONNREFUSED")
    die(world, owner)
    await world.calm()
    assert world.bus.ended == {("ContinuousTaskCancel", 1): 1}
    assert world.bus.failures == []


@pytest.mark.parametrize("kill", [False, True])
async def test_a_run_of_the_agent_that_ends_meanwhile(
    world: World, process: Callable[[], Owner], kill: bool
) -> None:
    owner, new = process(), process()
    task = await begin(world, owner)
    die(world, owner)
    await world.managers.asked()
    await (world.kill() if kill else world.terminate())
    [found] = world.running.tasks
    assert (found.id, found.owner) == (task.id, owner)
    await back(world, new)
    assert (found.owner, found.restarts) == (new, 1)
    await (world.kill() if kill else world.terminate())
    [found] = world.running.tasks
    assert (found.owner, found.restarts) == (new, 1)
    assert not world.bus.ended
    world.running.cancel(found)
    await world.calm()
    assert world.managers.state.restart == "no"


async def test_where_it_is_told_it_does_not_ask(world: World, process: Callable[[], Owner]) -> None:
    owner = process()
    await begin(world, owner)
    die(world, owner)
    await world.managers.told()
    count = len(world.managers.calls)
    await asyncio.sleep(0.3)
    assert len(world.managers.calls) == count
    world.managers.state = STOPPED
    world.managers.followed[0].tell(on=True)
    await world.calm()
    assert world.bus.ended == {("ContinuousTaskCancel", 1): 1}
    assert world.bus.failures == []
    assert world.managers.followed == []


async def test_where_it_is_told_no_more_it_asks(world: World, process: Callable[[], Owner]) -> None:
    owner, new = process(), process()
    task = await begin(world, owner)
    die(world, owner)
    await world.managers.told()
    world.clock.advance(restart_waiter.WITHOUT_ANSWER + 1)  # which is no reason to end
    world.managers.error = NotAnswered("ETIMEDOUT")
    world.managers.followed[0].tell(on=False)
    await world.managers.asked()
    await world.managers.asked()
    world.managers.error = None
    await back(world, new)
    assert task.owner == new
    world.running.cancel(task)


GONE = replace(STOPPED, load="not-found")


@pytest.mark.parametrize(
    ("last", "result", "said"),
    [
        (None, "", None),
        (None, "exit-code", "ended, and systemd gave it up (exit-code; with CollectMode=inactive"),
        (WAITING, "signal", "ended too often, and systemd gave it up (signal;"),
    ],
)
async def test_one_that_is_forgotten_at_once(
    world: World, process: Callable[[], Owner], last: ServiceState | None, result: str, said: str | None
) -> None:
    world.managers.state = replace(RUNNING, restart="on-abort", collects=True)
    world.managers.stubborn = True
    owner = process()
    await begin(world, owner)
    [following] = world.managers.followed
    await (world.kill() if last is None else world.terminate())
    [following] = world.managers.followed  # that of the next run
    following.tell(on=True)
    world.managers.state = last or GONE
    world.processes.die(owner)
    await world.managers.asked()
    world.managers.state = GONE
    following.tell(on=True, result=result)
    await asyncio.sleep(0.02)
    assert not world.bus.ended
    following.tell(on=True, result=result, removed=True)
    await world.calm()
    assert world.bus.ended == {("ContinuousTaskCancel", 1): 1}
    assert [failure.startswith(f"the service {said}") for failure in world.bus.failures] == [True] * bool(
        said
    )
    assert world.managers.followed == []


async def test_one_that_need_not_be_forgotten(world: World, process: Callable[[], Owner]) -> None:
    world.managers.state = replace(RUNNING, restart="on-abort", collects=True)
    task = await begin(world, process())
    assert world.managers.calls == ["show a.service", "keep a.service"]
    assert world.managers.followed == []
    world.running.cancel(task)
    await world.calm()
    assert world.managers.calls[-1] == "unkeep a.service"


async def test_what_a_run_left_without_a_task_is_taken_back(
    world: World, process: Callable[[], Owner]
) -> None:
    await begin(world, process())
    shutil.rmtree(world.runtime / "continuous")
    await world.kill()
    await world.calm()
    assert world.managers.calls[-1] == "unkeep a.service"


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"state": replace(RUNNING, kind="oneshot")}, ContinuousTaskVerificationFailed, "Type=oneshot"),
        ({"error": ManagersMissing("gone")}, SystemServiceFailed, "no missiond-units (gone)"),
        ({"error": NotAnswered("ETIMEDOUT")}, ContinuousTaskVerificationFailed, "ETIMEDOUT"),
        ({"keep_error": NotAnswered("ENOEXEC")}, ContinuousTaskVerificationFailed, "Restart=always"),
        ({"keep_error": NotAnswered("EEXIST")}, ContinuousTaskVerificationFailed, "EEXIST"),
    ],
)
async def test_what_is_refused_leaves_nothing(
    world: World, process: Callable[[], Owner], change: dict[str, object], error: type[AgentError], text: str
) -> None:
    for name, value in change.items():
        setattr(world.managers, name, value)
    with pytest.raises(error) as caught:
        await begin(world, process())
    assert text in str(caught.value)
    world.managers.error = world.managers.keep_error = None
    await world.calm()
    assert len(world.leases) == 0
    assert world.managers.state.restart == "no"


async def test_what_is_owed_is_done_once_the_socket_is_back(
    world: World, process: Callable[[], Owner]
) -> None:
    task = await begin(world, process())
    world.managers.error = ManagersMissing("gone")
    world.running.cancel(task)
    await world.calm()
    assert world.degraded.sentences == ["no missiond-units (gone): drop-ins of services stay"]
    world.managers.path.write_bytes(b"")  # no socket: nobody to ask
    world.managers.error = None
    world.managers.path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as back:
        back.bind(str(world.managers.path))
        async with asyncio.timeout(5):
            while world.managers.state.restart != "no":
                await asyncio.sleep(0.005)
    await world.calm()
    assert not world.degraded


async def test_whose_service_it_is(
    world: World, process: Callable[[], Owner], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = process()
    with pytest.raises(InvalidParameter, match="is in none"):
        await begin(world, replace(owner, unit="b.service"))
    with pytest.raises(InvalidParameter, match="in none"):
        await begin(world, replace(owner, unit="session-1.scope"))
    mine = replace(inspect(owner.pid), uid=owner.uid + 1)
    monkeypatch.setattr(restarts_module, "inspect", lambda _pid: mine)
    with pytest.raises(ContinuousTaskVerificationFailed, match="another user's"):
        await begin(world, owner)
    assert world.managers.calls == ["show a.service"]


async def test_a_child_stands_for_the_main_process(world: World, process: Callable[[], Owner]) -> None:
    main, child = process(), process()
    world.managers.state = replace(RUNNING, main_pid=main.pid)
    connected = replace(child, connection=":1.7")
    task = await world.running.start(MODES, connected, child.app, RESTART)
    assert task.owner == main
    world.running.cancel(task)


async def test_a_second_start_meanwhile(world: World, process: Callable[[], Owner]) -> None:
    owner = process()
    first, second = await asyncio.gather(begin(world, owner), begin(world, owner), return_exceptions=True)
    assert isinstance(first, ContinuousTask)
    assert isinstance(second, ContinuousTaskVerificationFailed)
    await world.calm()
    assert world.managers.state.restart == "always"
    world.running.cancel(first)


async def test_a_full_disk(
    world: World, process: Callable[[], Owner], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(world.files, "save", full)
    with pytest.raises(SystemServiceFailed, match="No space left"):
        await begin(world, process())
    assert "keep a.service" not in world.managers.calls


async def test_what_was_given_back_meanwhile_is_kept_again(
    world: World, process: Callable[[], Owner]
) -> None:
    """Its drop-in was taken back, and that written down, while the agent did not run."""
    task = await begin(world, process())
    [note] = (world.runtime / "restart").iterdir()
    assert '"undone":false' in note.read_text()
    note.write_text(note.read_text().replace('"undone":false', '"undone":true'))
    world.managers.calls.clear()
    await world.terminate()
    await world.calm()
    assert world.managers.calls == ["keep a.service"]
    assert '"undone":false' in note.read_text()
    [live] = [lease for lease in world.leases if lease.key == task.key]
    assert isinstance(live, ContinuousTask)
    world.running.cancel(live)
    await world.calm()
