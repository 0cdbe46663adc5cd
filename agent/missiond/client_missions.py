# SPDX-License-Identifier: Apache-2.0
"""Missions for Python programs, over a Client.

    async with Client() as agent:
        for mission in await Missions(agent).infos(): print(mission.label)

Times are µs since the epoch. Methods raise as those of Client do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypedDict, Unpack

from missiond.bus.values import variant
from missiond.client import Client, Signals
from missiond.service.names import DISTRIBUTED_MISSION_MANAGER, MANAGER_PATH

PROPERTIES = "org.freedesktop.DBus.Properties"

MOST = 2**32 - 1
_SIGNATURES = {
    "pid": "u",
    "label": "s",
    "icon": "s",
    "argv": "as",
    "cwd": "s",
    "environment": "as",
    "continuable": "b",
    "relaunch": "b",
    "unit-properties": "as",
    "state-directory": "s",
    "tag": "i",
}


class MissionInfo(NamedTuple):
    """One mission; `pid` is its leader's, `state` is running or frozen."""

    mission_id: int
    label: str
    icon: str
    app_id: str
    pid: int
    uid: int
    state: str
    locked: bool
    continuable: bool
    tag: int
    started: int


class Description(TypedDict, total=False):
    """What a program may say of itself."""

    pid: int
    label: str
    icon: str
    argv: list[str]
    cwd: str
    environment: list[str]
    continuable: bool
    relaunch: bool
    unit_properties: list[str]
    state_directory: str
    tag: int


class Missions:
    """The missions of a device; the empty id is this host."""

    def __init__(self, agent: Client, device_id: str = "") -> None:
        self._agent = agent
        self._device = device_id

    async def infos(self, most: int = MOST) -> list[MissionInfo]:
        """Those that the caller may see, by id."""
        (rows,) = await self._call("GetMissionInfos", "su", self._device, most)
        return [MissionInfo(*row) for row in rows]

    async def info(self, mission_id: int) -> dict[str, Any]:
        """Everything about one."""
        (values,) = await self._call("GetMissionInfo", "su", self._device, mission_id)
        return dict(values)

    async def snapshot(self, mission_id: int) -> dict[str, Any]:
        """What its processes use."""
        (values,) = await self._call("GetMissionSnapshot", "su", self._device, mission_id)
        return dict(values)

    async def register(self, **description: Unpack[Description]) -> int:
        """Make a program a mission, by default the caller; its id."""
        named = {key.replace("_", "-"): value for key, value in description.items()}
        options = {key: variant(_SIGNATURES[key], value) for key, value in named.items()}
        (mission_id,) = await self._call("RegisterMission", "a{sv}", options)
        return int(mission_id)

    async def unregister(self, mission_id: int) -> None:
        """Take that back."""
        await self._call("UnregisterMission", "u", mission_id)

    async def lock(self, mission_id: int, *, locked: bool = True) -> None:
        """Mark one as not to be ended, or take the mark away."""
        await self._call("LockMission" if locked else "UnlockMission", "u", mission_id)

    async def terminate(self, mission_id: int) -> None:
        """Have one end: SIGTERM now, SIGKILL after the agent's grace time."""
        await self._call("TerminateMission", "u", mission_id)

    async def start_sync(self, *, fix_conflict: bool = True, tag: int = 0) -> None:
        """Have the agent keep a peer's list from now on, also over restarts; 0 is any tag."""
        await self._call("StartSyncRemoteMissions", "sbi", self._device, fix_conflict, tag)

    async def stop_sync(self) -> None:
        """Have it keep the list no longer."""
        await self._call("StopSyncRemoteMissions", "s", self._device)

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[Signals]:
        """One item for each time at which something about missions, or about a peer's state, has changed."""
        peer = f"{MANAGER_PATH}/peer/{self._device}"
        also = [
            ("NetDisconnect", DISTRIBUTED_MISSION_MANAGER, None),
            ("PropertiesChanged", PROPERTIES, peer),
        ]
        async with self._agent.signals(
            "MissionsChanged", DISTRIBUTED_MISSION_MANAGER, also=also if self._device else ()
        ) as changed:
            await self._call("RegisterMissionListener", "s", self._device)
            yield changed

    async def _call(self, member: str, signature: str, *arguments: object) -> list[Any]:
        return await self._agent.manage(DISTRIBUTED_MISSION_MANAGER, member, signature, arguments)
