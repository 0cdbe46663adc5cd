# SPDX-License-Identifier: Apache-2.0
"""The agent for programs without an event loop: threads, signals, forks, and nothing left behind."""

from __future__ import annotations

import asyncio
import errno
import itertools
import signal
import sys
import threading
import time
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import missiond
from missiond.client import _loop as loop_module
from missiond.client._loop import Loop
from missiond.errors import ContinuousTaskVerificationFailed, PermissionDenied
from standins.agents.agent import StandInAgent
from standins.agents.continuations import DONE
from standins.agents.continuations import ROW as CONTINUATION
from standins.agents.peer_unit import OWN, ROW, A, B

from .conftest import program

CONTINUOUS = ("StartBackgroundRunning", "StopBackgroundRunning")


def names(agent: StandInAgent) -> list[str]:
    return [call[0] for call in agent.script.calls]


def is_a(value: object, kind: type) -> bool:
    return isinstance(value, kind)


async def test_missions(agent: StandInAgent) -> None:
    agent.continuations.own = [ROW]
    agent.continuations.info = {}

    def use() -> None:
        with missiond.connect() as client:
            [mission] = client.missions()
            assert is_a(mission, missiond.MissionInfo)
            assert (mission.label, mission) == ("Editor", client.missions()[0])
            assert "Editor" in repr(mission)
            mission.lock()
            client.missions.unlock(mission.id)
            mission.terminate()
            for missions in client.missions.watch():
                assert [each.id for each in missions] == [7]
                break
            with client.missions.changes() as changes:
                assert iter(changes)
            assert client.status().version == "1.2.3"
            assert {"missions", "status", "keep_awake"} <= set(dir(client))

    await asyncio.to_thread(use)
    assert [call for call in agent.script.calls if call[0].endswith("Mission")] == [
        ("LockMission", 7), ("UnlockMission", 7), ("TerminateMission", 7),
    ]  # fmt: skip


async def test_peers_and_moves(agent: StandInAgent) -> None:
    agent.continuations.own = [ROW]
    agent.continuations.rows = [CONTINUATION]
    agent.continuations.progress = DONE

    def use() -> None:
        with missiond.connect() as client:
            laptop = client.peer("laptop")
            assert is_a(laptop, missiond.PeerInfo)
            assert len(laptop.missions()) == 1
            [mission] = client.missions()
            assert [step.phase for step in client.move(mission, to=laptop)][-1] == "started"
            assert client.move(7, to=laptop).wait().phase == "started"
            laptop.unpair()
            client.moves()[0].drop()

    await asyncio.to_thread(use)
    moves = [call for call in agent.script.calls if call[0] == "ContinueMission"]
    assert moves == [("ContinueMission", OWN, A, 7, {})] * 2
    assert names(agent)[-1] == "DropContinuation"


async def test_pairing(agent: StandInAgent) -> None:
    def use() -> None:
        with missiond.connect() as client, client.peers.requests() as requests:
            client.status()  # what is heard while no call waits is kept
            asked.set()
            for request in requests:
                assert request == missiond.PairingRequest(B, "desk", "123456")
                break

    asked = threading.Event()
    using = asyncio.ensure_future(asyncio.to_thread(use))
    await asyncio.to_thread(asked.wait)
    agent.server.emit(
        "/org/missiond/Agent1", "org.missiond.Agent1.Peers", "PairingRequested", B, "desk", "123456"
    )
    await using


async def test_tasks(agent: StandInAgent) -> None:
    def use() -> None:
        with missiond.connect() as client:
            with client.keep_awake("a", mode="data-transfer", inhibit="shutdown") as task:
                task.progress = 40
                assert (task.held, task.name, repr(task)) == (
                    True, "continuous/1", "<missiond.Task continuous/1>",
                )  # fmt: skip
                [found] = client.tasks()
                assert is_a(found, missiond.TaskInfo)
                found.cancel()
                task.progress = 50  # the work goes on, and so does its loop
                with pytest.raises(ContinuousTaskVerificationFailed):
                    task.report(60)
            with client.delay_sleep("b") as delay:
                assert (delay.name, delay.held) == ("transient/1", True)
                delay.cancel()
                assert not delay.held
            started = client.keep_awake("c").start()
            started.stop()
            assert not started.held

    await asyncio.to_thread(use)
    assert agent.tasks == {}
    assert agent.script.calls[0][2]["inhibit"] == ["shutdown"]


async def test_what_needs_an_event_loop(agent: StandInAgent) -> None:
    def use() -> None:
        with missiond.connect() as client:
            with pytest.raises(AttributeError, match="continuable needs an event loop"):
                client.continuable(label="a")
            with pytest.raises(AttributeError, match="no attribute"):
                client.nothing  # noqa: B018

    await asyncio.to_thread(use)
    with pytest.raises(RuntimeError, match="async with"), missiond.connect():
        pytest.fail("not to be reached")


async def test_errors(agent: StandInAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    agent.script.denies = PermissionDenied("polkit denies org.missiond.Agent1.x")

    def use() -> None:
        with missiond.connect() as client, pytest.raises(missiond.Denied), client.keep_awake("a"):
            pytest.fail("not to be reached")
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
        with pytest.raises(missiond.Unreachable), missiond.connect():
            pytest.fail("not to be reached")

    await asyncio.to_thread(use)


async def test_a_block_is_entered_once(agent: StandInAgent) -> None:
    def use() -> None:
        blocks: list[Any] = [missiond.keep_awake("a"), missiond.connect()]
        for each in blocks:
            with each as entered:
                with pytest.raises(RuntimeError, match="entered once"), each:
                    pytest.fail("not to be reached")
                assert entered
            with pytest.raises(RuntimeError, match="entered once"), each:
                pytest.fail("not to be reached")
        with pytest.raises(RuntimeError, match="the block is over"):
            entered.status()

    await asyncio.to_thread(use)
    assert names(agent) == [*CONTINUOUS]
    connection = missiond.connect()
    async with connection:
        with pytest.raises(RuntimeError, match="entered once"):
            await connection.__aenter__()
        assert await connection.tasks() == []


async def test_threads_share_a_task(agent: StandInAgent) -> None:
    """One that waits for long stops no other."""

    def report(task: missiond.BlockingTask, first: int) -> None:
        for percent in range(first, first + 20):
            task.report(percent)

    def watch(client: Any) -> None:
        for missions in client.missions.watch():
            watching.set()
            if missions:
                break

    def use() -> None:
        with missiond.connect() as client, client.keep_awake("a", mode="data-transfer") as task:
            threads = [
                threading.Thread(target=watch, args=(client,)),
                *[threading.Thread(target=report, args=(task, first)) for first in (0, 50)],
            ]
            for thread in threads:
                thread.start()
            for thread in threads[1:]:
                thread.join()
            watching.wait()
            agent.loop.call_soon_threadsafe(changed)
            threads[0].join()

    watching = threading.Event()

    def changed() -> None:
        agent.continuations.own = [ROW]
        manager = "org.missiond.Agent1.DistributedMissionManager"
        agent.server.emit("/org/missiond/Agent1", manager, "MissionsChanged", "")

    await asyncio.to_thread(use)
    assert names(agent).count("UpdateDataTransferProgress") == 40


async def test_threads_with_loops_of_their_own(agent: StandInAgent) -> None:
    async def inside(task: missiond.BlockingTask) -> None:
        task.progress = 50
        async with missiond.keep_awake("inner") as inner:
            assert inner.held

    def use() -> None:
        with missiond.keep_awake("a", mode="data-transfer") as task:
            asyncio.run(inside(task))

    await asyncio.gather(*[asyncio.to_thread(use) for _ in range(3)])
    assert agent.tasks == {}
    assert names(agent).count("UpdateDataTransferProgress") == 3


async def test_nothing_is_left(agent: StandInAgent, client: missiond.Agent) -> None:
    def left(what: str) -> int:
        return len([*Path("/proc/self", what).iterdir()])

    def use() -> None:
        with missiond.connect() as other, other.keep_awake("a"), missiond.delay_sleep("b"):
            pass
        with pytest.raises(missiond.Invalid), missiond.keep_awake("a", at_most=0):
            pass

    def use_often() -> None:
        threads = left("task")
        for _ in range(10):
            use()
        while left("task") > threads:  # the last has closed its loop, and is about to end
            time.sleep(0.01)

    await asyncio.to_thread(use)
    before = left("fd")
    await asyncio.to_thread(use_often)
    await agent.until(tasks=0)
    await client.status()  # the stand-in has seen that all are gone
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert left("fd") == before


@pytest.mark.timeout(20)
async def test_a_reader_that_is_forgotten(agent: StandInAgent, caplog: pytest.LogCaptureFixture) -> None:
    agent.continuations.own = [ROW]

    def use() -> None:
        with missiond.connect() as client:
            left = [iter(client.missions.watch()), iter(client.missions.watch())]
            assert [next(reader)[0].id for reader in left] == [7, 7]

            async def collect() -> None:  # garbage is collected in any thread
                left.pop()

            client._loop.run(collect)
            assert [each.id for each in client.missions()] == [7]
        left.clear()

    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    async with asyncio.timeout(10.0):
        while thread.is_alive():
            await asyncio.sleep(0.01)
    assert not caplog.records


async def test_a_warning_names_the_line_of_the_program(
    agent: StandInAgent, environment: dict[str, str]
) -> None:
    agent.script.failures["StartBackgroundRunning"] = ContinuousTaskVerificationFailed("too many")
    source = """import missiond
with missiond.connect() as agent:
    with agent.keep_awake("t", required=False) as task:
        print(task.held)
"""
    process = await program(environment, source, "-W", "default")
    out, err = await process.communicate()
    assert out == b"False\n"
    assert err.startswith(b"<string>:3: NotKeptAwake: nothing keeps this host awake: too many")


HANDLER = """
import signal, sys, missiond

class Wanted(Exception):
    pass

def handler(number, frame):
    raise Wanted(number)

signal.signal(signal.SIGUSR1, handler)
"""


async def test_a_handler_that_raises_while_a_block_begins(
    agent: StandInAgent, environment: dict[str, str]
) -> None:
    """Here the agent grants the task all the same, of which nobody would know."""
    source = f"""{HANDLER}
import os
try:
    with missiond.keep_awake("t", pid=os.getpid()):
        print("begun")
except Wanted as error:
    print("told", error, len(os.listdir("/proc/self/fd")) - before, flush=True)
input()
""".replace("class", "import os\nbefore = len(os.listdir('/proc/self/fd'))\nclass", 1)
    agent.script.waits = asyncio.Event()
    process = await program(environment, source)
    await agent.until(calls=1)
    process.send_signal(signal.SIGUSR1)
    agent.script.waits.set()
    assert process.stdout is not None
    assert await process.stdout.readline() == b"told 10 0\n"
    assert names(agent) == [*CONTINUOUS]
    assert agent.tasks == {}
    assert await process.communicate(b"\n") == (b"", b"")


async def test_a_handler_that_raises_while_a_block_ends(
    agent: StandInAgent, environment: dict[str, str]
) -> None:
    source = f"""{HANDLER}
import os
try:
    with missiond.keep_awake("t", pid=os.getpid()):
        pass
except Wanted as error:
    print("told", error, flush=True)
input()
"""
    agent.script.stops = asyncio.Event()
    process = await program(environment, source)
    await agent.until(calls=2)
    process.send_signal(signal.SIGUSR1)
    agent.script.stops.set()
    assert process.stdout is not None
    assert await process.stdout.readline() == b"told 10\n"
    assert agent.tasks == {}
    assert await process.communicate(b"\n") == (b"", b"")


async def test_a_handler_that_raises_ends_a_wait(agent: StandInAgent, environment: dict[str, str]) -> None:
    source = f"""{HANDLER}
with missiond.connect() as agent:
    try:
        for missions in agent.missions.watch():
            print(len(missions), flush=True)
    except Wanted:
        print(agent.status().version, flush=True)
"""
    process = await program(environment, source)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"0\n"
    process.send_signal(signal.SIGUSR1)
    assert await process.communicate() == (b"1.2.3\n", b"")


def test_a_handler_that_raises_anywhere_in_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """At each instruction of a call in turn: no thread fails, and the next call is as any other."""

    left = 0

    class Wanted(Exception):
        pass

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in (loop_module.__file__, threading.__file__):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if not left:
                raise Wanted
        return trace

    async def work() -> str:
        return "done"

    failed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    monkeypatch.setattr(sys, "unraisablehook", failed.append)
    loop, before = Loop(), sys.gettrace()
    for number in itertools.count(1):
        left = number
        sys.settrace(trace)
        try:
            loop.run(work)
        except Wanted:
            sys.settrace(before)
            assert (number, loop.run(work)) == (number, "done")
        else:
            break
        finally:
            sys.settrace(before)
    assert number > 50
    loop.close()
    assert failed == []


def test_a_call_that_is_cancelled_before_it_begins() -> None:
    loop = Loop()

    async def work() -> Any:
        raise AssertionError("not to be reached")

    begin = loop._begin

    def cancelled_first(call: Any) -> None:
        call.cancelled = True
        begin(call)

    loop._begin = cancelled_first  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        loop.run(work)
    loop.close()
    loop.close()
    with pytest.raises(RuntimeError, match="over"):
        loop.run(work)


@pytest.mark.timeout(10)
async def test_a_wrong_argument_is_an_error_and_no_wait(agent: StandInAgent) -> None:
    def call() -> None:
        with missiond.connect() as connected:
            with pytest.raises(TypeError, match="missing 1 required positional argument"):
                connected.peer()
            with pytest.raises(TypeError, match="unexpected keyword argument"):
                connected.missions(most=1)
            assert connected.missions() == []

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    async with asyncio.timeout(5.0):
        while thread.is_alive():
            await asyncio.sleep(0.01)


@pytest.mark.timeout(10)
def test_where_no_loop_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> int:
        return 1

    def none() -> asyncio.AbstractEventLoop:
        raise OSError(errno.EMFILE, "Too many open files")

    loop = Loop()
    with monkeypatch.context() as full:
        full.setattr(asyncio, "new_event_loop", none)
        with pytest.raises(OSError, match="Too many open files"):
            loop.run(work)
    assert loop.run(work) == 1  # there is room again
    loop.close()


def test_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async def work() -> None:
        raise AssertionError("not to be reached")

    monkeypatch.setattr(loop_module, "start_new_thread", start)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeError, match="can't start new thread"):
            Loop().run(work)
