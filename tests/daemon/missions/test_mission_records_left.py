# SPDX-License-Identifier: Apache-2.0
"""Records of missions that can't be deleted keep nothing from starting."""

from __future__ import annotations

import errno

import pytest

from missiond import bus_names
from missiond.store.record_store import RecordStore
from standins.clients.agent_client import agent_client, options
from standins.programs.running import running
from standins.worlds.scene import Scene

MISSIONS = bus_names.DISTRIBUTED_MISSION_MANAGER


async def test_a_read_only_directory(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await scene.start()
    with running() as pid:
        async with agent_client(scene.address) as client:
            description = options(pid=pid)
            await client.call("RegisterMission", description, interface=MISSIONS, signature="a{sv}")
        await scene.stop()

    def refuse(_files: RecordStore, _kind: str, _number: int) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(RecordStore, "remove", refuse)
    await scene.start()
    async with agent_client(scene.address) as client:
        assert (await client.request())[0] == 1
