# SPDX-License-Identifier: Apache-2.0
"""What keeps the agent from starting is said in one line; what does not is lived with."""

from __future__ import annotations

import resource
import signal
from pathlib import Path
from typing import Any

import pytest

from missiond import bus_names
from missiond.daemon.tasks import leases
from missiond.store.record_store import RecordStore
from standins.agents.process import AgentProcess
from standins.clients.agent_client import AgentClient, agent_client
from standins.services import private_bus as private_bus_module
from standins.services.private_bus import running_bus
from standins.worlds.scene import Scene

pytestmark = pytest.mark.slow


async def said_at_its_end(process: AgentProcess, log: Path) -> list[str]:
    """Lines on standard error of a run that must fail."""
    try:
        assert await process.exited() == 1
    finally:
        process.end()
    return log.read_text().splitlines()


@pytest.mark.parametrize(
    "address", ["unix:path=/nonexistent/bus", "tcp:host=localhost", "nonsense", "unix:path=/dev/null"]
)
async def test_no_bus(scene: Scene, tmp_path: Path, address: str) -> None:
    environment = scene.environment | {"DBUS_SYSTEM_BUS_ADDRESS": address}
    [line] = await said_at_its_end(AgentProcess(environment, tmp_path / "log"), tmp_path / "log")
    assert line.startswith("missiond can't start: ")
    if address.startswith("unix:path="):
        assert address.removeprefix("unix:path=") in line


async def test_no_session_bus(scene: Scene, tmp_path: Path) -> None:
    process = AgentProcess({"HOME": str(tmp_path)}, tmp_path / "log", None, "--session")
    [line] = await said_at_its_end(process, tmp_path / "log")
    assert line.startswith("missiond can't start: no session bus")


async def test_a_bus_that_does_not_allow_the_name(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbidding = private_bus_module._CONFIGURATION.replace(
        "</busconfig>", f'<policy context="mandatory"><deny own="{bus_names.BUS_NAME}"/></policy></busconfig>'
    )
    monkeypatch.setattr(private_bus_module, "_CONFIGURATION", forbidding)
    with running_bus() as bus:
        environment = scene.environment | {"DBUS_SYSTEM_BUS_ADDRESS": bus.address}
        *_, line = await said_at_its_end(AgentProcess(environment, tmp_path / "log"), tmp_path / "log")
    assert line.startswith("missiond can't start: org.freedesktop.DBus.Error.AccessDenied")
    assert "Traceback" not in (tmp_path / "log").read_text()


async def test_the_session_bus(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = private_bus_module._CONFIGURATION.replace("<type>system", "<type>session")
    monkeypatch.setattr(private_bus_module, "_CONFIGURATION", session)
    with running_bus() as bus:
        environment = {
            "DBUS_SYSTEM_BUS_ADDRESS": scene.address,
            "DBUS_SESSION_BUS_ADDRESS": bus.address,
            "MISSIOND_HELPER_SOCKET": str(scene.helper.place),
            "XDG_RUNTIME_DIR": str(tmp_path / "runtime"),
            "XDG_STATE_HOME": str(tmp_path / "home"),
        }
        process = AgentProcess(environment, tmp_path / "log", scene.store, "--session")
        try:
            await scene.store.until("READY=1")
            async with agent_client(bus.address) as client:
                await client.begin("voip", keep_alive="none")
                assert (await client.manager())["Degraded"] == []
            assert (tmp_path / "runtime/missiond/continuous").is_dir()
            assert (tmp_path / "home/missiond/usage").is_file()
            assert scene.polkit.checks == []
            process.send(signal.SIGINT)
            assert await process.exited() == 0
        finally:
            process.end()


async def use(client: AgentClient) -> None:
    """Everything that a client of a degraded agent can still do."""
    request_id, _ = await client.request()
    task_id = await client.begin("dataTransfer")
    await client.call("UpdateBackgroundRunning", ["voip"], {})
    await client.call("CancelSuspendDelay", request_id)
    await client.call("CancelContinuousTask", task_id)
    await client.settle()
    assert client.heard("SuspendDelayEnded", "ContinuousTaskCancel")[-2:] == [
        ("SuspendDelayEnded", request_id, "cancelled"),
        ("ContinuousTaskCancel", task_id, 1),
    ]
    assert await client.objects() == {}


@pytest.mark.parametrize("directory", ["run", "state"])
async def test_a_directory_that_can_not_be_made(
    scene: Scene, tmp_path: Path, directory: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / directory).write_text("a file is in the way")
    await scene.start()
    word = "runtime" if directory == "run" else "state"
    assert f"can't write the {word} directory" in scene.store.status
    async with agent_client(scene.address, listening=True) as client:
        await use(client)
        await use(client)
        assert len(client.heard("SuspendDelayEnded", "ContinuousTaskCancel")) == 4
        assert any(
            f"can't write the {word} directory" in said for said in (await client.manager())["Degraded"]
        )
    assert scene.locks == []
    assert not [record for record in caplog.records if record.exc_info]
    assert len(caplog.records) < 20


async def test_full_disks(scene: Scene, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    # Standard error can't be a file here, nor need it be one.
    process = AgentProcess(scene.environment, Path("/dev/null"), scene.store, before=full)
    try:
        await scene.store.until("READY=1")
        async with agent_client(scene.address, listening=True) as client:
            request_id, _ = await client.request()
            assert len(scene.locks) == 1
            await client.call("CancelSuspendDelay", request_id)
            said = " ".join((await client.manager())["Degraded"])
            assert "can't write the runtime directory" in said
            assert "can't write the state directory" in said
            task_id = await client.begin("voip")
            await client.call("CancelContinuousTask", task_id)
            await client.until("ContinuousTaskCancel", task_id, 1)
        process.send(signal.SIGTERM)
        assert await process.exited() == 0
    finally:
        process.end()
    assert scene.locks == []


async def test_space_that_is_back_is_noticed_without_another_task(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = RecordStore.save
    full = True

    def save(files: RecordStore, kind: str, lease_id: int, record: dict[str, Any]) -> None:
        if full:
            raise OSError(28, "No space left on device")
        real(files, kind, lease_id, record)

    monkeypatch.setattr(RecordStore, "save", save)
    monkeypatch.setattr(leases, "SAVE_AGAIN", 0.01)
    await scene.start()
    async with agent_client(scene.address, listening=True) as client:
        await client.request()
        said = (await client.manager())["Degraded"]
        assert any("can't write the runtime directory (No space left on device)" in each for each in said)
        full = False
        await client.until_property(bus_names.MANAGER_PATH, "Degraded", lambda said: said == [])
    assert scene.files("transient") == ["1"]


async def test_a_file_that_can_not_be_deleted(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = RecordStore.remove
    broken = [True]

    def remove(files: RecordStore, kind: str, lease_id: int) -> None:
        if broken[0]:
            raise OSError(30, "Read-only file system")
        real(files, kind, lease_id)

    monkeypatch.setattr(RecordStore, "remove", remove)
    await scene.start()
    async with agent_client(scene.address, listening=True) as client:
        await use(client)
        assert scene.locks == []
        assert scene.store.names == []
        assert (scene.files("transient"), scene.files("continuous")) == (["1"], ["1"])
        assert "Read-only" in (await client.manager())["Degraded"][0]
        await client.request()  # which is written; what is left over is there still
        assert "Read-only" in (await client.manager())["Degraded"][0]
        broken[0] = False
        # The next file that is written takes the left-over ones along.
        await client.request()
        assert (scene.files("transient"), scene.files("continuous")) == (["2", "3"], [])
        assert (await client.manager())["Degraded"] == []
    assert not [record for record in caplog.records if record.exc_info]


async def test_of_twins_that_a_full_disk_left_the_later_lives_on(scene: Scene) -> None:
    await scene.start()
    async with agent_client(scene.address, listening=True) as client:
        task_id = await client.begin("voip")
        place = scene.runtime / "continuous"
        left_over = (place / str(task_id)).read_bytes()
        await client.call("StopBackgroundRunning", {})
        later = await client.begin("location")
        await scene.stop()
        (place / str(task_id)).write_bytes(left_over)
        await scene.start()
        assert list(await client.objects()) == [f"{bus_names.MANAGER_PATH}/continuous/{later}"]
        await client.call("StopBackgroundRunning", {})
        assert scene.files("continuous") == []
        await client.begin("voip")


async def test_the_directory_goes_while_it_runs(agent: Scene, client: AgentClient) -> None:
    await client.request()
    for entry in (agent.runtime / "transient").iterdir():
        entry.unlink()
    (agent.runtime / "transient").rmdir()
    await client.call("CancelSuspendDelay", 1)
    await client.request()
    assert agent.files("transient") == ["2"]
    assert (await client.manager())["Degraded"] == []
