# SPDX-License-Identifier: Apache-2.0
"""org.missiond.Agent1.Sharing: the peer unit's view of this host."""

from __future__ import annotations

import os
from typing import Any

from missiond import bus_names
from missiond.bus.interface import Call, Interface
from missiond.bus.server import Server
from missiond.bus.variants import variant
from missiond.common.subscription import Subscription
from missiond.core.link.timeouts import MAX_BODY
from missiond.core.missions.missions import Row
from missiond.daemon.handover.handovers import Handovers
from missiond.daemon.missions.shared_missions import SharedMissions, Subscriber
from missiond.daemon.missions.snapshots import Snapshots
from missiond.errors import PermissionDenied
from missiond.host.user_database import USERS
from missiond.service import mission_details

USER = "missiond-peers"
_NOT_TOLD = {"cgroup": ("s", ""), "session": ("s", "")}
"""Of no use elsewhere."""
_PRIVATE: dict[str, tuple[str, object]] = {"argv": ("as", []), "want": ("a{sv}", {})}
"""What leaves this host only where the program said that it can go on elsewhere."""


class SharingService(Interface):
    """The interface for root and the peer unit's user only, with a check beside the bus policy's."""

    name = bus_names.SHARING
    call_bytes = 2 * MAX_BODY

    def __init__(
        self, server: Server, sharing: SharedMissions, snapshots: Snapshots, handovers: Handovers
    ) -> None:
        self._handovers = handovers
        self._server = server
        self._sharing = sharing
        self._snapshots = snapshots
        self._subscriber = ""
        self._vanishing: Subscription | None = None

    async def subscribe(self, call: Call) -> list[Row]:
        """Return the shared missions; Changed and SnapshotChanged go to the caller from now on."""
        name = await _peer_unit(call)
        if self._vanishing is not None:
            self._vanishing.close()
        self._subscriber = name
        self._vanishing = self._server.callers.on_vanish(name, self._left)
        return self._sharing.subscribe(Subscriber(self._changed, self._snapshot_changed))

    async def info(self, call: Call, mission_id: int) -> dict[str, Any]:
        """Return everything about a mission for others to know."""
        await _peer_unit(call)
        mission = self._sharing.find(mission_id)
        left_out = _NOT_TOLD if mission.continuable else _NOT_TOLD | _PRIVATE
        empty = {key: variant(kind, value) for key, (kind, value) in left_out.items()}
        return mission_details.describe(mission) | empty

    async def snapshot(self, call: Call, mission_id: int) -> dict[str, Any]:
        """Return a mission's use of resources now."""
        await _peer_unit(call)
        mission = self._sharing.find(mission_id)
        taken = await self._snapshots.take(mission)
        return mission_details.snapshot(taken, self._snapshots.state(mission, taken))

    async def watch_snapshots(self, call: Call, on: bool) -> None:
        """Start or stop measuring at the pace of SnapshotInterval= and telling of changes."""
        await _peer_unit(call)
        self._sharing.watch_snapshots(on=on)

    async def hand_over(
        self, call: Call, device_id: str, transfer: str, step: str, body: str, permissions: list[str]
    ) -> None:
        """Take a peer's message about a hand-over."""
        await _peer_unit(call)
        may_continue = "continue" in permissions
        await self._handovers.received(device_id, transfer, step, body, may_continue=may_continue)

    def _changed(self, rows: list[Row], removed: list[int]) -> None:
        self._emit("Changed", rows, removed)

    def _snapshot_changed(self, mission_id: int) -> None:
        self._emit("SnapshotChanged", mission_id)

    def _emit(self, member: str, *arguments: object) -> None:
        self._server.emit(
            bus_names.MANAGER_PATH, bus_names.SHARING, member, *arguments, destination=self._subscriber
        )

    def _left(self) -> None:
        self._subscriber, self._vanishing = "", None
        self._sharing.unsubscribe()


async def _peer_unit(call: Call) -> str:
    """Return the caller's name; raises PermissionDenied for everybody but the unit and root."""
    caller = await call.caller()
    if caller.uid not in (0, os.geteuid(), _uid()):
        raise PermissionDenied("this is for missiond-peers.service; use DistributedMissionManager")
    return caller.name


def _uid() -> int | None:
    try:
        return USERS.uid_of(USER)
    except KeyError:
        return None
