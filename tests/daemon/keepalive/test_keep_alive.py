# SPDX-License-Identifier: Apache-2.0
"""Keep-alive with a helper that refuses, hangs, vanishes and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from missiond import bus_names
from missiond.daemon import helper_client
from missiond.daemon.keepalive import keep_alive, oom_score, protected_processes
from missiond.helper.requests import Adjust
from missiond.host import helper as privileged
from missiond.host.processes import tree
from missiond.host.processes.tree import Member, around, look
from standins.clients.agent_client import AgentClient, Refused, agent_client, options
from standins.worlds.scene import Scene

BEFORE = 500
LOWER = 200
"""Above 0, where no privilege is needed to go back to."""


@contextmanager
def owner(children: int = 0) -> Iterator[list[int]]:
    """Pids of a process and its children, all of BEFORE."""
    script = (
        f"echo {BEFORE} >/proc/self/oom_score_adj; for n in $(seq {children}); do sleep 60 & echo $!; done"
    )
    child = subprocess.Popen(
        ["sh", "-c", f"{script}; echo; exec cat >/dev/null"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    pids = [child.pid]
    while line := child.stdout.readline().strip():
        pids.append(int(line))
    try:
        yield pids
    finally:
        for pid in pids[1:]:
            os.kill(pid, 9)
        child.stdin.close()
        child.stdout.close()
        child.kill()
        child.wait(timeout=10)


def score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


async def settled(agent: Scene) -> None:
    """Wait until all that was begun is done."""
    assert agent.app is not None
    await agent.app.keep_alive.settle()


async def until_missing(client: AgentClient, word: str = "no missiond-helper") -> None:
    await client.until_property(
        bus_names.MANAGER_PATH, "Degraded", lambda said: any(word in line for line in said)
    )


async def until_well(client: AgentClient) -> None:
    await client.until_property(bus_names.MANAGER_PATH, "Degraded", lambda said: said == [])


async def test_lowered_and_given_back(agent: Scene, client: AgentClient) -> None:
    with owner(2) as pids:
        task = await client.begin("voip", pid=pids[0])
        await settled(agent)
        assert [score(pid) for pid in pids] == [LOWER] * 3
        assert agent.files("protection") == ["1"]
        await client.call("CancelContinuousTask", task)
        await settled(agent)
        assert [score(pid) for pid in pids] == [BEFORE] * 3
        assert agent.files("protection") == []


@pytest.mark.parametrize("made", [LOWER + 1, BEFORE - 1, BEFORE, BEFORE + 100])
async def test_what_raised_itself_meanwhile_gets_back_what_it_had(
    agent: Scene, client: AgentClient, made: int
) -> None:
    """Again and again, and what is more than that stays."""
    with owner(1) as pids:
        expected = BEFORE
        for number in range(3):
            task = await client.begin("voip", pid=pids[0], context=str(number))
            assert min(score(pid) for pid in pids) >= BEFORE - (BEFORE - LOWER)
            for pid in pids:
                Path(f"/proc/{pid}/oom_score_adj").write_text(str(made))
            await client.call("CancelContinuousTask", task)
            await settled(agent)
            expected = max(BEFORE, made)
            assert [score(pid) for pid in pids] == [expected] * 2
        assert agent.files("protection") == []


async def test_the_answer_comes_when_the_owner_is_looked_after(agent: Scene, client: AgentClient) -> None:
    with owner(2) as pids:
        for number in range(3):
            task = await client.begin("voip", pid=pids[0])
            assert [score(pid) for pid in pids] == [LOWER] * 3, number
            await client.call("CancelContinuousTask", task)


async def test_the_answer_does_not_wait_for_ever(
    agent: Scene, client: AgentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep_alive, "PATIENCE", 0.05)
    agent.helper.hangs = True
    with owner() as pids:
        await client.begin("voip", pid=pids[0])
        assert (len(agent.helper.heard), score(pids[0])) == (1, BEFORE)
        await until_missing(client, "not protected yet: missiond-helper, logind or systemd takes long")
        agent.helper.hangs = False
        agent.helper.vanish()
        agent.helper.appear()
        await until_well(client)
        assert score(pids[0]) == LOWER


async def test_a_task_that_ends_before_its_answer_is_no_success(
    agent: Scene, client: AgentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep_alive, "PATIENCE", 0.2)
    agent.helper.hangs = True
    with owner() as pids:
        serial = await client.start("StartBackgroundRunning", ["voip"], options(pid=pids[0]))
        await agent.helper.until_heard(1)
        await client.call("CancelContinuousTask", 1)
        with pytest.raises(Refused, match="ended meanwhile"):
            await client.answer(serial)
        assert agent.files("continuous") == []


async def test_a_stop_ends_what_is_not_answered_yet(agent: Scene, client: AgentClient) -> None:
    agent.helper.hangs = True
    with owner() as pids:
        serial = await client.start("StartBackgroundRunning", ["voip"], options(pid=pids[0]))
        await agent.helper.until_heard(1)
        async with asyncio.timeout(keep_alive.PATIENCE / 2):
            await agent.stop()
        assert agent.app is not None
        assert agent.app.keep_alive._work is None
        with pytest.raises(Refused, match="shutting down"):
            await client.answer(serial)
        assert agent.files("continuous") == []


async def test_many_tasks_of_one_owner_are_one_look(
    agent: Scene, client: AgentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def tree_of(pid: int, start_ticks: int) -> list[Member]:
        looks.append(pid)
        return real(pid, start_ticks)

    real = tree.tree_of
    monkeypatch.setattr(oom_score, "tree_of", tree_of)
    with owner(1) as pids:
        tasks = [await client.begin("voip", pid=pids[0], context=str(number)) for number in range(40)]
        await settled(agent)
        assert score(pids[0]) == LOWER
        assert len(looks) <= 4
        assert len(agent.helper.heard) == 2
        for task in tasks[1:]:
            await client.call("CancelContinuousTask", task)
        await settled(agent)
        assert score(pids[0]) == LOWER
        await client.call("CancelContinuousTask", tasks[0])
        await settled(agent)
        assert score(pids[0]) == BEFORE
        assert len(looks) <= 5
        assert len(agent.helper.heard) == 4


async def test_owners_that_end_together_are_one_look_around(
    agent: Scene, client: AgentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with a child that stays behind, lowered."""
    looks: list[str] = []

    def look_around(cgroup: str) -> list[Member]:
        looks.append(cgroup)
        return around(cgroup)

    monkeypatch.setattr(oom_score, "around", look_around)
    with contextlib.ExitStack() as stack:
        owners = [stack.enter_context(owner(1)) for _ in range(8)]
        tasks = [await client.begin("voip", pid=pids[0], context=str(pids[0])) for pids in owners]
        await settled(agent)
        lowered = [pid for pids in owners for pid in pids]
        assert {score(pid) for pid in lowered} == {LOWER}
        for serial in [await client.start("CancelContinuousTask", task) for task in tasks]:
            await client.answer(serial)
        await settled(agent)
        assert {score(pid) for pid in lowered} == {BEFORE}
        assert agent.files("protection") == []
    assert len(looks) <= 4


async def test_without_it_nothing_is_kept(agent: Scene, client: AgentClient) -> None:
    agent.helper.vanish()
    with owner() as pids:
        task = await client.begin("voip", pid=pids[0])
        await until_missing(client)
        assert (score(pids[0]), agent.files("protection")) == (BEFORE, [])
        await client.call("CancelContinuousTask", task)
        await until_well(client)
        assert agent.app is not None
        assert len(agent.app.keep_alive._wards) == 0


@pytest.mark.parametrize("leave_file", [True, False])
async def test_it_comes_back(agent: Scene, client: AgentClient, leave_file: bool) -> None:
    agent.helper.vanish(leave_file=leave_file)
    with owner() as pids, owner() as others:
        await client.begin("voip", pid=pids[0])
        await until_missing(client)
        await client.begin("voip", pid=others[0], context="other")
        agent.helper.place.unlink(missing_ok=True)
        agent.helper.appear()
        await until_well(client)
        await settled(agent)
        assert (score(pids[0]), score(others[0])) == (LOWER, LOWER)


async def test_what_is_owed_is_paid_when_it_is_back(agent: Scene, client: AgentClient) -> None:
    with owner(2) as pids:
        task = await client.begin("voip", pid=pids[0])
        await settled(agent)
        agent.helper.vanish()
        await client.call("CancelContinuousTask", task)
        await until_missing(client)
        assert agent.files("protection") == ["1"]
        for number in range(20):
            again = await client.begin("voip", pid=pids[0], context=str(number))
            await client.call("CancelContinuousTask", again)
        await settled(agent)
        assert agent.files("protection") == ["1"]
        agent.helper.appear()
        await until_well(client)
        await settled(agent)
        assert [score(pid) for pid in pids] == [BEFORE] * 3
        assert agent.files("protection") == []


async def test_it_vanishes_in_the_middle(agent: Scene, client: AgentClient) -> None:
    agent.helper.most = 1
    with owner(3) as pids:
        task = await client.begin("voip", pid=pids[0])
        await until_missing(client)
        assert sorted(score(pid) for pid in pids) == [LOWER, BEFORE, BEFORE, BEFORE]
        agent.helper.most = None
        agent.helper.appear()
        await until_well(client)
        await settled(agent)
        assert [score(pid) for pid in pids] == [LOWER] * 4
        await client.call("CancelContinuousTask", task)
        await settled(agent)
        assert [score(pid) for pid in pids] == [BEFORE] * 4


async def test_it_vanishes_in_the_middle_and_the_task_ends(agent: Scene, client: AgentClient) -> None:
    agent.helper.most = 1
    with owner(3) as pids:
        task = await client.begin("voip", pid=pids[0])
        await until_missing(client)
        await client.call("CancelContinuousTask", task)
        await settled(agent)
        # What was changed is owed; so is what was asked for and not answered, one for each try of the helper.
        assert agent.app is not None
        [ward] = agent.app.keep_alive._wards
        assert {pid for pid in pids if score(pid) != BEFORE} <= {owed.pid for owed in ward.debt}
        agent.helper.most = None
        agent.helper.appear()
        await until_well(client)
        assert [score(pid) for pid in pids] == [BEFORE] * 4
        assert agent.files("protection") == []


async def test_it_hangs(agent: Scene, client: AgentClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privileged, "TIMEOUT", 0.05)
    monkeypatch.setattr(helper_client, "FIRST_PAUSE", 0.05)
    agent.helper.hangs = True
    with owner() as pids:
        await client.begin("voip", pid=pids[0])
        await until_missing(client, "no answer")
        assert score(pids[0]) == BEFORE
        async with agent_client(agent.address) as other:
            await other.request()
        agent.helper.hangs = False
        await until_well(client)
        await settled(agent)
        assert score(pids[0]) == LOWER


@pytest.mark.parametrize("how", ["goes on", "ends"])
async def test_it_hangs_until_it_is_heard_of(
    agent: Scene, client: AgentClient, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Nobody has to wait for the time after which it is tried again."""
    monkeypatch.setattr(privileged, "TIMEOUT", 0.05)
    agent.helper.hangs = True
    with owner() as pids:
        await client.begin("voip", pid=pids[0])
        await until_missing(client, "no answer")
        assert len((await client.manager())["Degraded"]) == 1
        agent.helper.hangs = False
        monkeypatch.setattr(privileged, "TIMEOUT", 10.0)
        await (agent.helper.go_on() if how == "goes on" else agent.helper.drop())
        await until_well(client)
        await settled(agent)
        assert score(pids[0]) == LOWER


@pytest.mark.parametrize("at_once", [False, True])
async def test_a_refusal_is_no_failure(
    agent: Scene, client: AgentClient, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    """Also where the task begins in the clock tick in which its owner started."""
    agent.helper.refuses = "EPERM"
    with owner() as pids:
        if at_once:
            monkeypatch.setattr(protected_processes, "ticks_now", lambda: look(pids[0]).start_ticks)
        task = await client.begin("voip", pid=pids[0])
        await settled(agent)
        assert [type(request) for request in agent.helper.heard] == [Adjust]
        assert score(pids[0]) == BEFORE
        assert (await client.manager())["Degraded"] == []
        await client.call("CancelContinuousTask", task)
        await settled(agent)
        assert (len(agent.helper.heard), agent.files("protection")) == (1, [])


async def missing(client: AgentClient, task: int) -> Any:
    return (
        await client.properties(f"{bus_names.MANAGER_PATH}/continuous/{task}", bus_names.CONTINUOUS_TASK)
    )["Missing"]


async def test_what_is_not_done_is_seen(
    agent: Scene, client: AgentClient, caplog: pytest.LogCaptureFixture
) -> None:
    """In each task, as one sentence in Degraded, once in the journal; until it is done, or nobody asks."""
    caplog.set_level("INFO")
    agent.helper.refuses = "EACCES"
    with owner() as pids, owner() as others:
        first = await client.begin("voip", pid=pids[0])
        second = await client.begin("voip", pid=pids[0], context="b")
        third = await client.begin("voip", pid=others[0], context="c")
        for task in (first, second, third):
            assert await missing(client, task) == ["oom"]
        [[one, *_]] = await client.call("GetAllContinuousTasks", True)
        assert one["missing"].value == ["oom"]
        assert (await client.manager())["Degraded"] == [
            "continuous tasks are not all spared when memory runs out: oom_score_adj stays as it is (EACCES)"
        ]
        assert agent.app is not None
        for _ in range(3):
            agent.app.keep_alive.review()
            await settled(agent)
        told = [record.message for record in caplog.records if "oom_score_adj" in record.message]
        assert [text.startswith("degraded: ") for text in told] == [True], told
        for task in (first, second):
            await client.call("CancelContinuousTask", task)
        assert len((await client.manager())["Degraded"]) == 1
        agent.helper.refuses = ""
        agent.app.keep_alive.review()
        path = f"{bus_names.MANAGER_PATH}/continuous/{third}"
        await client.until_property(path, "Missing", lambda said: said == [])
        assert (await client.manager())["Degraded"] == []
        assert score(others[0]) == LOWER
        agent.helper.refuses = "EACCES"
        for _ in range(3):
            last = await client.begin("voip", pid=pids[0])
            assert len((await client.manager())["Degraded"]) == 1
            await client.call("CancelContinuousTask", last)
            await until_well(client)
        told = [record.message for record in caplog.records if "oom_score_adj" in record.message]
        assert len(told) == 2, "once more, since it worked between, but not for each task"
        agent.helper.refuses = ""


async def test_what_is_root_s_alone_is_seen_in_the_task(agent: Scene, client: AgentClient) -> None:
    agent.helper.refuses = "EPERM"
    with owner() as pids:
        task = await client.begin("voip", pid=pids[0])
        assert (await missing(client, task), (await client.manager())["Degraded"]) == (["oom"], [])
        agent.helper.refuses = ""


async def test_without_it_every_task_shows_it(agent: Scene, client: AgentClient) -> None:
    agent.helper.vanish()
    with owner() as pids:
        task = await client.begin("voip", pid=pids[0])
        await until_missing(client)
        assert "oom" in await missing(client, task)
        assert len((await client.manager())["Degraded"]) == 1
        agent.helper.appear()
        await until_well(client)
        await settled(agent)
        assert await missing(client, task) == []
        assert await missing(client, await client.begin("voip", pid=pids[0], context="b")) == []


async def test_who_wants_nothing_misses_nothing(agent: Scene, client: AgentClient) -> None:
    agent.helper.refuses = "EACCES"
    with owner() as pids:
        task = await client.begin("voip", pid=pids[0], keep_alive="none")
        assert await missing(client, task) == []
        agent.helper.refuses = ""


async def test_a_restart_goes_on(agent: Scene, client: AgentClient) -> None:
    with owner(1) as pids:
        task = await client.begin("voip", pid=pids[0])
        await settled(agent)
        await agent.stop()
        assert score(pids[0]) == LOWER
        await agent.start()
        await settled(agent)
        async with agent_client(agent.address) as again:
            await again.call("CancelContinuousTask", task)
            await settled(agent)
        assert [score(pid) for pid in pids] == [BEFORE] * 2
        assert agent.files("protection") == []
