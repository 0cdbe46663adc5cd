# SPDX-License-Identifier: Apache-2.0
"""Missions: running programs of people on this host or a peer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict, Unpack

from missiond.bus import standard
from missiond.bus_names import DISTRIBUTED_MISSION_MANAGER, MANAGER_PATH, PEER
from missiond.client._bus import AgentBus
from missiond.client._inbox import Inbox
from missiond.client._types import moment
from missiond.errors import Error, Failed, Invalid

MOST = 2**32 - 1


class Description(TypedDict, total=False):
    """Keywords describing a program as a mission; see RegisterMission in the interface."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionUsage:
    """Resource usage of a mission.

    `cpu` is per cent of one processor since the usage before, `memory` bytes, `children` the processes beside
    the leader; `read_bytes` and `written_bytes` are None where the host does not tell.
    """

    taken: datetime
    cpu: float
    memory: int
    threads: int
    children: int
    state: str
    read_bytes: int | None
    written_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionInfo:
    """One mission at the time of listing; `pid` is the leader's, `state` is running or frozen."""

    _missions: Missions = field(repr=False, compare=False)
    id: int
    label: str
    icon: str
    application: str
    pid: int
    uid: int
    state: str
    locked: bool
    continuable: bool
    tag: int
    started: datetime
    device: str
    """Id of the mission's peer; empty for this host."""

    async def lock(self) -> None:
        """Protect the mission from being ended."""
        await self._missions.lock(self.id)

    async def unlock(self) -> None:
        """Allow the mission to be ended again."""
        await self._missions.unlock(self.id)

    async def terminate(self) -> None:
        """End the mission: SIGTERM now, SIGKILL after the agent's grace time."""
        await self._missions.terminate(self.id)

    async def snapshot(self) -> MissionUsage:
        """Measure the resource usage of the mission's processes."""
        return await self._missions.snapshot(self.id)

    async def details(self) -> MissionDetails:
        """Return all known details of the mission."""
        return await self._missions.details(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class MissionDetails:
    """Everything about a mission; empty where there is none, or where a peer does not tell."""

    mission: MissionInfo
    argv: tuple[str, ...]
    unit: str
    cgroup: str
    session: str
    origin: str
    """Id of the device of origin."""
    cwd: str
    environment: tuple[str, ...]
    environment_dropped: tuple[str, ...]
    """Names of variables left behind by a move."""


class Missions:
    """Missions of one host: `await agent.missions()` returns a list.

    All methods raise NotFound for a mission that is not there, and Denied for another user's.
    """

    def __init__(self, bus: AgentBus, device: str = "") -> None:
        self._bus = bus
        self._device = device

    async def __call__(self, at_most: int = MOST) -> list[MissionInfo]:
        """List the missions visible to the caller, by id, at most so many."""
        return await self._list(at_most)

    async def snapshot(self, mission: int) -> MissionUsage:
        """Measure the resource usage of a mission's processes."""
        [values] = await self._call("GetMissionSnapshot", self._device, mission)
        return MissionUsage(
            taken=moment(values["taken"]),
            cpu=values["cpu"],
            memory=values["memory"],
            threads=values["threads"],
            children=values["children"],
            state=values["state"],
            read_bytes=values.get("read-bytes"),
            written_bytes=values.get("write-bytes"),
        )

    async def details(self, mission: int) -> MissionDetails:
        """Return all known details of a mission."""
        [values] = await self._call("GetMissionInfo", self._device, mission)
        want = values.get("want", {})
        return MissionDetails(
            mission=self._info([values[key] for key in _ROW]),
            argv=tuple(values.get("argv", ())),
            unit=values.get("unit", ""),
            cgroup=values.get("cgroup", ""),
            session=values.get("session", ""),
            origin=values.get("origin", ""),
            cwd=want.get("cwd", ""),
            environment=tuple(want.get("environment", ())),
            environment_dropped=tuple(want.get("environment-dropped", ())),
        )

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[Changes]:
        """Hear of changes from now on: one item for all at one time."""
        async with _heard(self._bus, self._device) as changes:
            bus, device = self._bus, self._device
            await self._call("RegisterMissionListener", device)
            again = bus.on_return(lambda: bus.begin(self._register_again(changes)))
            bus.listening[device] += 1
            try:
                yield changes
            finally:
                again.close()
                bus.listening[device] -= 1
                if not bus.listening[device] and bus.is_open:
                    bus.begin(self._call("UnregisterMissionListener", device))

    async def lock(self, mission: int) -> None:
        """Mark a mission as not to be ended."""
        await self._manage("LockMission", mission)

    async def unlock(self, mission: int) -> None:
        """Allow a mission to be ended again."""
        await self._manage("UnlockMission", mission)

    async def terminate(self, mission: int) -> None:
        """End a mission: SIGTERM now, SIGKILL after a grace time; raises Denied for a locked one."""
        await self._manage("TerminateMission", mission)

    async def _list(self, at_most: int = MOST) -> list[MissionInfo]:
        [rows] = await self._call("GetMissionInfos", self._device, at_most)
        return [self._info(row) for row in rows]

    def _info(self, row: list[Any]) -> MissionInfo:
        *values, tag, started = row
        names = (
            "id", "label", "icon", "application", "pid", "uid", "state", "locked", "continuable",
        )  # fmt: skip
        named = dict(zip(names, values, strict=True))
        return MissionInfo(_missions=self, **named, tag=tag, started=moment(started), device=self._device)

    async def _register_again(self, changes: Changes) -> None:
        await self._call("RegisterMissionListener", self._device)
        changes.put()

    async def _manage(self, member: str, mission: int) -> None:
        if self._device:
            raise Invalid(f"mission {mission} is on another host; missions are managed on their own host")
        await self._call(member, mission)

    async def _call(self, member: str, *arguments: object) -> list[Any]:
        return await self._bus.call(DISTRIBUTED_MISSION_MANAGER, member, *arguments)


class OwnMissions(Missions):
    """Missions of this host."""

    async def watch(self) -> AsyncIterator[list[MissionInfo]]:
        """Iterate over the list: now, and after each change.

            async for missions in agent.missions.watch():
                print([mission.label for mission in missions])

        Raises Unreachable once the connection has ended.
        """
        async with self.changes() as changes:
            yield await self._list()
            async for _ in changes:
                yield await self._list()

    async def register(self, **description: Unpack[Description]) -> int:
        """Make a program a mission (default: the caller), return the id. Raises Invalid, NotFound, Busy."""
        options = self._bus.options(DISTRIBUTED_MISSION_MANAGER, "RegisterMission", description)
        [mission] = await self._call("RegisterMission", options)
        return int(mission)

    async def unregister(self, mission: int) -> None:
        """Take a registration back; a mission found by the host stays."""
        await self._call("UnregisterMission", mission)


class PeerMissions(Missions):
    """Missions shared by a peer; all methods raise Failed for an unknown list."""

    async def __call__(self, at_most: int = MOST) -> list[MissionInfo]:
        """Ask the peer for the list, synchronised for the time of the call."""
        async with self.synchronised():
            return await self._list(at_most)

    async def known(self) -> list[MissionInfo]:
        """List the missions known here already, without asking the peer."""
        return await self._list()

    async def watch(self) -> AsyncIterator[list[MissionInfo] | None]:
        """Iterate over the list: now, and after each change; None for an unknown list."""
        async with self.synchronised(), self.changes() as changes:
            yield await self._known_now()
            async for _ in changes:
                yield await self._known_now()

    async def keep(self, *, fix_conflict: bool = True, tag: int = 0) -> None:
        """Keep the list in step from now on, also over restarts; `tag` 0 is any tag."""
        await self._call("StartSyncRemoteMissions", self._device, fix_conflict, tag)

    async def forget(self) -> None:
        """Keep the list in step no longer."""
        await self._call("StopSyncRemoteMissions", self._device)

    @asynccontextmanager
    async def synchronised(self) -> AsyncIterator[None]:
        """Synchronise the list during the block; an earlier synchronisation stays afterwards."""
        try:
            found = await self._bus.properties(PEER, f"{MANAGER_PATH}/peer/{self._device}")
        except Error:
            found = {}
        if found.get("Synchronised"):
            yield
            return
        await self.keep()
        try:
            yield
        finally:
            await self.forget()

    async def _known_now(self) -> list[MissionInfo] | None:
        try:
            return await self._list()
        except Failed:
            return None


_ROW = (
    "mission-id", "label", "icon", "app-id", "pid", "uid", "running-state", "locked", "continuable", "tag",
    "started",
)  # fmt: skip


class Changes:
    """Iterator with one item for all changes since the one before."""

    def __init__(self, inbox: Inbox[Any]) -> None:
        self._inbox = inbox

    def put(self, *_arguments: object) -> None:
        """Note a change."""
        self._inbox.put(None)

    def __aiter__(self) -> Changes:
        return self

    async def __anext__(self) -> None:
        await self._inbox.get()
        self._inbox.clear()


@asynccontextmanager
async def _heard(bus: AgentBus, device: str) -> AsyncIterator[Changes]:
    """Subscribe to what tells of missions of a device, and of the peer itself."""
    with bus.inbox() as inbox:
        changes = Changes(inbox)

        def of_device(changed: str, *_more: object) -> None:
            if changed == device:
                changes.put()

        members = {"MissionsChanged": of_device}
        if device:
            members["NetDisconnect"] = of_device
        subscriptions = [await bus.subscribe(DISTRIBUTED_MISSION_MANAGER, members)]
        try:
            if device:
                path = f"{MANAGER_PATH}/peer/{device}"
                peer = await bus.subscribe(standard.PROPERTIES, {"PropertiesChanged": changes.put}, path=path)
                subscriptions.append(peer)
            yield changes
        finally:
            for subscription in subscriptions:
                subscription.close()
