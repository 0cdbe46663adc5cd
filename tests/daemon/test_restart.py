# SPDX-License-Identifier: Apache-2.0
"""Ends and deaths of the agent: nothing is lost, and nothing is held for nobody."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from missiond import bus_names
from missiond.bus.variants import variant
from missiond.host.clocks.boottime import BootClock
from standins.agents.process import AgentProcess
from standins.clients.agent_client import AgentClient, Refused, agent_client, options
from standins.clients.other_user import other_process
from standins.services.logind import running_logind
from standins.services.polkit import running_polkit
from standins.services.private_bus import PrivateBus, running_bus
from standins.worlds.scene import Scene, until_gone

pytestmark = pytest.mark.slow

ENDS = pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])


class Runs:
    """Runs of the agent one after another, with one service manager."""

    def __init__(self, scene: Scene, log: Path) -> None:
        self.scene = scene
        self.log = log
        self.process: AgentProcess | None = None

    async def start(self) -> AgentProcess:
        """Start the next run, which gets what is in the store; return once it serves."""
        store = self.scene.store
        before = sum(line == "READY=1" for line in store.lines)
        self.process = AgentProcess(self.scene.environment, self.log, store)
        await store.until("READY=1", before + 1)
        return self.process

    async def end(self, number: signal.Signals) -> None:
        """End the run."""
        assert self.process is not None
        self.process.send(number)
        assert await self.process.exited() == (0 if number == signal.SIGTERM else -number)
        self.scene.store.flush()


@pytest.fixture
def runs(scene: Scene, tmp_path: Path) -> Iterator[Runs]:
    made = Runs(scene, tmp_path / "log")
    yield made
    if made.process is not None:
        made.process.end()


@pytest.fixture
async def listener(runs: Runs) -> AsyncIterator[AgentClient]:
    async with agent_client(runs.scene.address, listening=True) as connected:
        yield connected


@ENDS
async def test_nothing_is_lost(runs: Runs, listener: AgentClient, end: signal.Signals) -> None:
    scene = runs.scene
    await runs.start()
    first, _ = await listener.request("photos – été")
    second, _ = await listener.request("more", delay=90_000, pid=listener.pid)
    task_id = await listener.begin("voip", "dataTransfer", context="c", title="T", keep_alive="none")
    await listener.call("UpdateDataTransferProgress", task_id, {"value": variant("u", 40)})
    clock, times = BootClock(), []
    times.append(clock.now())
    before = await listener.objects()
    times.append(clock.now())
    locks = scene.locks
    assert len(locks) == 3
    await runs.end(end)
    assert scene.locks == locks
    assert len(scene.store.names) == 3
    await runs.start()
    times.append(clock.now())
    after = await listener.objects()
    times.append(clock.now())
    assert set(after) == set(before)
    for path, interfaces in before.items():
        [(interface, values)] = interfaces.items()
        told = after[path][interface]
        if "Remaining" in values:
            passed = values.pop("Remaining") - told.pop("Remaining")
            assert times[2] - times[1] <= passed <= times[3] - times[0]
        assert told == values
    # Every lock is taken again under the new run's pid, and the old one then closed.
    await scene.store.until_names("continuous-1-2", "transient-1-2", "transient-2-2")
    await scene.until_locks(*locks)
    assert {lock.pid for lock in scene.logind.held} == {runs.process.pid if runs.process else 0}
    await listener.settle()
    assert listener.heard("SuspendDelayEnded", "ContinuousTaskCancel") == []
    assert (await listener.request())[0] == 3
    await listener.call("CancelSuspendDelay", first)
    await listener.call("CancelSuspendDelay", second)
    await listener.call("StopBackgroundRunning", options(context="c"))
    assert (await listener.refused("CancelSuspendDelay", first)).code == 9900001
    await scene.store.until_names("transient-3-1")
    assert len(scene.locks) == 1


@ENDS
async def test_quota_and_ids_go_on(runs: Runs, listener: AgentClient, end: signal.Signals) -> None:
    await runs.start()
    for _ in range(3):
        request_id, _ = await listener.request()
    while (await listener.call("GetTransientTaskInfo"))[0] > 599_900:
        await asyncio.sleep(0)
    for number in range(request_id):
        await listener.call("CancelSuspendDelay", number + 1)
    [quota, live] = await listener.call("GetTransientTaskInfo")
    assert live == []
    await runs.end(end)
    await runs.start()
    assert (await listener.call("GetTransientTaskInfo"))[0] == quota
    assert (await listener.request())[0] == 4
    assert runs.scene.files("transient") == ["4"]


async def test_deadlines_hold(runs: Runs, listener: AgentClient) -> None:
    await runs.start()
    await listener.request(delay=400)
    await listener.until("SuspendDelayExpiring", 1)
    await runs.end(signal.SIGKILL)
    await runs.start()
    await listener.until("SuspendDelayEnded", 1, "expired")
    await listener.settle()
    # Warned once, not once in every run.
    assert len(listener.heard("SuspendDelayExpiring", "SuspendDelayEnded")) == 2
    await runs.scene.until_locks()
    assert (runs.scene.store.names, runs.scene.files("transient")) == ([], [])


async def test_owners_that_left_meanwhile(runs: Runs, listener: AgentClient) -> None:
    scene = runs.scene
    await runs.start()
    async with AsyncExitStack() as stack:
        _, child = await stack.enter_async_context(other_process(scene.address))
        leaving = await stack.enter_async_context(agent_client(scene.address))
        staying = await stack.enter_async_context(agent_client(scene.address))
        dead = await listener.begin("voip", pid=child.pid)
        gone, _ = await leaving.request("gone")
        kept, _ = await staying.request("kept")
        await runs.end(signal.SIGKILL)
        child.end()
        leaving.raw.close()
        await runs.start()
        await listener.until("ContinuousTaskCancel", dead, 2)
        await listener.until("SuspendDelayEnded", gone, "owner-exited")
        assert list(await listener.objects()) == [f"{bus_names.MANAGER_PATH}/transient/{kept}"]
        await scene.store.until_names(f"transient-{kept}-2")
        await scene.until_locks(("sleep", f"transient task {kept}: kept"))
        assert (scene.files("transient"), scene.files("continuous")) == ([str(kept)], [])
        await listener.settle()
        assert len(listener.heard("SuspendDelayEnded", "ContinuousTaskCancel")) == 2
    # Watched in the new run as well.
    await listener.until("SuspendDelayEnded", kept, "owner-exited")


async def test_a_pid_that_is_used_again(runs: Runs, listener: AgentClient) -> None:
    await runs.start()
    request_id, _ = await listener.request(pid=listener.pid)
    await runs.end(signal.SIGKILL)
    file = runs.scene.runtime / "transient" / str(request_id)
    record = json.loads(file.read_text())
    record["owner"]["start_ticks"] += 1
    file.write_text(json.dumps(record))
    await runs.start()
    await listener.until("SuspendDelayEnded", request_id, "owner-exited")
    await runs.scene.store.until_names()
    await runs.scene.until_locks()


async def test_locks_without_a_task_are_closed(
    runs: Runs, listener: AgentClient, caplog: pytest.LogCaptureFixture
) -> None:
    scene = runs.scene
    await runs.start()
    first, _ = await listener.request("lost")
    second, _ = await listener.request("kept")
    await runs.end(signal.SIGKILL)
    (scene.runtime / "transient" / str(first)).unlink()
    scene.store.fds["nonsense"] = [os.dup(scene.store.fds[f"transient-{first}-1"][0])]
    scene.store.fds[f"transient-{second}-1"].append(os.dup(scene.store.fds[f"transient-{second}-1"][0]))
    await runs.start()
    await scene.store.until_names(f"transient-{second}-2")
    await scene.until_locks(("sleep", f"transient task {second}: kept"))
    await listener.call("CancelSuspendDelay", second)
    await scene.store.until_names()
    await scene.until_locks()


async def test_state_files_that_make_no_sense(runs: Runs, listener: AgentClient) -> None:
    scene = runs.scene
    await runs.start()
    request_id, _ = await listener.request("kept")
    await runs.end(signal.SIGKILL)
    place = scene.runtime / "transient"
    (place / "7").write_bytes(b"\0\xff")
    (place / "8").write_text('{"version":1,"owner":[]}')
    (place / "9").mkdir()
    (place / "passwd").symlink_to("/etc/passwd")
    (scene.runtime / "counters").write_bytes(b"\xff" * 100)
    (scene.state / "usage").write_bytes(b"\0" * 1000)
    await runs.start()
    assert list(await listener.objects()) == [f"{bus_names.MANAGER_PATH}/transient/{request_id}"]
    assert (await listener.request())[0] == 9
    assert "Traceback" not in runs.log.read_text()


async def test_calls_under_way_are_answered(runs: Runs, listener: AgentClient) -> None:
    scene = runs.scene
    await runs.start()
    kept = await listener.begin("location")
    scene.logind.hanging.add("Inhibit")
    waiting = [
        await listener.start("RequestSuspendDelay", "x", {}),
        await listener.start("StartBackgroundRunning", ["voip"], options(context="x")),
        await listener.start("UpdateBackgroundRunning", ["voip"], {}),
    ]
    await scene.logind.until_called("Inhibit", 4)
    await runs.end(signal.SIGTERM)
    for serial in waiting:
        with pytest.raises(Refused) as refused:
            await listener.answer(serial)
        assert refused.value.code == 9800004
        assert "shutting down" in refused.value.text
    # What was refused is not held either: to ask again must not find it there.
    assert (scene.files("transient"), scene.files("continuous")) == ([], [str(kept)])
    scene.logind.answer_held()
    await runs.start()
    assert list(await listener.objects()) == [f"{bus_names.MANAGER_PATH}/continuous/{kept}"]
    await listener.begin("voip", context="x")
    assert "Traceback" not in runs.log.read_text()


async def test_another_bus(
    runs: Runs, listener: AgentClient, private_bus: PrivateBus, tmp_path: Path
) -> None:
    """dbus-daemon dies: the agent ends, and tasks that hung on connections of the old bus are gone."""
    scene = runs.scene
    first = await runs.start()
    await listener.request("by connection")
    task_id = await listener.begin("voip", pid=listener.pid)
    with running_bus() as other:
        async with AsyncExitStack() as stack:
            private_bus.stop()
            assert await first.exited() == 1
            scene.store.flush()
            Path(other.address.partition("path=")[2].partition(",")[0]).parent.chmod(0o711)
            logind = await stack.enter_async_context(running_logind(other.address))
            await stack.enter_async_context(running_polkit(other.address))
            again = Runs(scene, tmp_path / "log")
            scene.address = other.address
            second = await again.start()
            stack.callback(second.end)
            client = await stack.enter_async_context(agent_client(other.address))
            assert list(await client.objects()) == [f"{bus_names.MANAGER_PATH}/continuous/{task_id}"]
            await scene.store.until_names(f"continuous-{task_id}-2")
            assert [lock.what for lock in logind.held] == ["sleep:idle"]
            await scene.until_locks()
    assert "Traceback" not in runs.log.read_text()


async def test_a_second_instance_ends_and_harms_nothing(
    runs: Runs, listener: AgentClient, tmp_path: Path
) -> None:
    scene = runs.scene
    await runs.start()
    await listener.request("kept")
    log = tmp_path / "second"
    second = AgentProcess(scene.environment, log)
    assert await second.exited() == 1
    said = log.read_text().splitlines()
    assert said == ["missiond can't start: org.missiond.Agent1 is taken: another instance is running"]
    assert len(scene.locks) == 1
    # Ids and quota of the first are still written to the files that the next run reads.
    await listener.call("CancelSuspendDelay", 1)
    assert (await listener.request())[0] == 2
    await listener.call("CancelSuspendDelay", 2)
    [quota, _] = await listener.call("GetTransientTaskInfo")
    await runs.end(signal.SIGKILL)
    await runs.start()
    assert (await listener.request())[0] == 3
    assert (await listener.call("GetTransientTaskInfo"))[0] <= quota


async def test_the_name_is_free_after_sigterm(runs: Runs) -> None:
    await runs.start()
    await runs.end(signal.SIGTERM)
    await until_gone(runs.scene.address)
    assert "STOPPING=1" in runs.scene.store.lines
