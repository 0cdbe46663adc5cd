# SPDX-License-Identifier: Apache-2.0
"""The part of org.missiond.Agent1.DistributedMissionManager on missions of peers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from missiond import bus_names
from missiond.bus.interface import Call, Caller
from missiond.bus.server import Server
from missiond.common.background_work import BackgroundWork
from missiond.common.subscription import Subscription
from missiond.core.missions.missions import Row
from missiond.daemon.authority import Action, Authority
from missiond.daemon.peering.peer_listener_store import PeerListenerFile
from missiond.daemon.peering.peers_client import CONNECTED, KnownPeer, PeerObserver, PeersClient
from missiond.errors import AgentError, InvalidParameter
from missiond.service.device_id_checks import check_form, check_known

_LOGGER = logging.getLogger(__name__)


class RemoteMissions(PeerObserver):
    """Missions of peers, from the lists of the peer unit; everything but an end takes manage-missions.

    A listener is told of its device alone. It stays one while that device, or the unit, is away, until it
    unregisters or leaves the bus.
    """

    def __init__(
        self, server: Server, unit: PeersClient, authority: Authority, file: PeerListenerFile
    ) -> None:
        unit.subscribe(self)
        self._server = server
        self._unit = unit
        self._authority = authority
        self._file = file
        self._listeners: dict[str, dict[str, Subscription]] = {}
        """Device to unique names of those who listen, each with what ends it when they leave."""
        self._work = BackgroundWork(_LOGGER, "asking for snapshots of a peer")

    # --- what clients ask for

    async def listen(self, call: Call, device_id: str) -> None:
        """Tell the caller of changes of this device's missions; again is no error."""
        caller = await self._permitted(call, device_id)
        if caller.name not in self._listeners.get(device_id, {}):
            self._add(device_id, caller.name)
            self._file.save(self._listeners)

    async def unlisten(self, call: Call, device_id: str) -> None:
        """End the signals of a device to the caller; again is no error, an unknown device is one."""
        check_form(device_id)
        name = (await call.caller()).name
        if name in self._listeners.get(device_id, {}):
            self._remove(device_id, name)
        else:
            await check_known(device_id, self._unit)

    async def start_sync_remote_missions(
        self, call: Call, device_id: str, fix_conflict: bool, tag: int
    ) -> None:
        """Keep the list of a device's missions here from now on."""
        caller = await self._permitted(call, device_id)
        await self._unit.call("StartSync", "sbi", (device_id, fix_conflict, tag), uid=caller.uid)

    async def stop_sync_remote_missions(self, call: Call, device_id: str) -> None:
        """Stop keeping the list of a device's missions."""
        caller = await self._permitted(call, device_id)
        await self._unit.call("StopSync", "s", (device_id,), uid=caller.uid)

    async def infos(self, call: Call, device_id: str, num_max: int) -> list[Row]:
        """Return at most so many missions of a device."""
        if num_max == 0:
            raise InvalidParameter("num_max must be at least 1")
        caller = await self._permitted(call, device_id)
        [rows] = await self._unit.call("Missions", "su", (device_id, num_max), uid=caller.uid)
        return [tuple(row) for row in rows]

    async def info(self, call: Call, device_id: str, mission_id: int) -> dict[str, Any]:
        """Return the details of a mission of a device."""
        return await self._ask(call, "MissionInfo", device_id, mission_id)

    async def snapshot(self, call: Call, device_id: str, mission_id: int) -> dict[str, Any]:
        """Return the use of resources by a mission of a device."""
        return await self._ask(call, "MissionSnapshot", device_id, mission_id)

    async def _ask(self, call: Call, member: str, device_id: str, mission_id: int) -> dict[str, Any]:
        if mission_id == 0:
            raise InvalidParameter("mission ids start at 1")
        caller = await self._permitted(call, device_id)
        [values] = await self._unit.call(member, "su", (device_id, mission_id), uid=caller.uid)
        return dict(values)

    async def _permitted(self, call: Call, device_id: str) -> Caller:
        await check_known(device_id, self._unit)
        caller = await call.caller()
        await self._authority.require(Action.MANAGE_MISSIONS, call, caller.uid)
        return caller

    # --- what the peer unit tells

    def peer_changed(self, before: KnownPeer | None, now: KnownPeer) -> None:
        """Ask a listened-to device for snapshots again once new, trusted or connected.

        Whoever heard that it is away hears that there is something to see again, whether or not it changed.
        """
        if now.device_id not in self._listeners or (before is not None and before.state == now.state):
            return
        self._watch_snapshots(now.device_id, on=True)
        if now.state == CONNECTED:
            self.missions_changed(now.device_id)

    def missions_changed(self, device_id: str) -> None:
        """MissionsChanged."""
        self._emit(device_id, "MissionsChanged")

    def snapshot_changed(self, device_id: str, mission_id: int) -> None:
        """SnapshotChanged."""
        self._emit(device_id, "SnapshotChanged", mission_id)

    def disconnected(self, device_id: str, state: int) -> None:
        """NetDisconnect."""
        self._emit(device_id, "NetDisconnect", state)

    # --- restarts

    async def load(self, is_there: Callable[[str], Awaitable[bool]]) -> None:
        """Go on with listeners of an earlier run, as far as connected."""
        written = self._file.load()
        for device_id, name in written:
            if await is_there(name):
                self._add(device_id, name)
        if written:
            self._file.save(self._listeners)

    def finish(self) -> None:
        """Send MissionsChanged to all listeners: changes were missed before the name was ours."""
        for device_id in self._listeners:
            self.missions_changed(device_id)

    # --- listeners

    def _add(self, device_id: str, name: str) -> None:
        listeners = self._listeners.setdefault(device_id, {})
        if name in listeners:
            return
        listeners[name] = self._server.callers.on_vanish(name, lambda: self._remove(device_id, name))
        if len(listeners) == 1 and self._unit.on:
            self._watch_snapshots(device_id, on=True)

    def _remove(self, device_id: str, name: str) -> None:
        listeners = self._listeners.get(device_id, {})
        vanishing = listeners.pop(name, None)
        if vanishing is None:
            return
        vanishing.close()
        if not listeners:
            del self._listeners[device_id]
            self._watch_snapshots(device_id, on=False)
        self._file.save(self._listeners)

    def _emit(self, device_id: str, member: str, *more: object) -> None:
        for name in list(self._listeners.get(device_id, ())):
            self._server.emit(
                bus_names.MANAGER_PATH,
                bus_names.DISTRIBUTED_MISSION_MANAGER,
                member,
                device_id,
                *more,
                destination=name,
            )

    def _watch_snapshots(self, device_id: str, *, on: bool) -> None:
        self._work.start(self._ask_for_snapshots(device_id, on=on))

    async def _ask_for_snapshots(self, device_id: str, *, on: bool) -> None:
        try:
            await self._unit.call("WatchSnapshots", "sb", (device_id, on))
        except AgentError as error:
            # off, or not paired: asked again when that changes
            _LOGGER.debug("snapshots of %s are not watched: %s", device_id, error)
