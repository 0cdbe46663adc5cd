# SPDX-License-Identifier: Apache-2.0
"""News of devices, gathered against news without end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

GAP = 0.25
"""Seconds between two signals about one device, as well-made hosts leave between two updates."""
MOST_SNAPSHOTS = 64
"""New snapshots of missions of one device told at a time; others follow after the next gap."""


@dataclass(slots=True)
class _Waiting:
    """What is to be told of a device after the gap."""

    handle: asyncio.TimerHandle
    changed: bool = False
    snapshots: dict[int, None] = field(default_factory=dict)


class Gathering:
    """Tells the first news at once, and the news within the gap after the first each once."""

    def __init__(self, changed: Callable[[str], None], snapshot: Callable[[str, int], None]) -> None:
        self._changed = changed
        self._snapshot = snapshot
        self._waiting: dict[str, _Waiting] = {}

    def list_changed(self, device_id: str) -> None:
        """Tell of a changed list of a device, now or after the gap."""
        waiting = self._waiting.get(device_id)
        if waiting is None:
            self._begin(device_id)
            self._changed(device_id)
        else:
            waiting.changed = True

    def snapshot_changed(self, device_id: str, mission: int) -> None:
        """Tell of a new snapshot of a mission after the gap."""
        waiting = self._waiting.get(device_id) or self._begin(device_id)
        waiting.snapshots[mission] = None

    def forget(self, device_id: str) -> None:
        """Drop the untold news of a device."""
        waiting = self._waiting.pop(device_id, None)
        if waiting is not None:
            waiting.handle.cancel()

    def close(self) -> None:
        """Drop all untold news."""
        for device_id in list(self._waiting):
            self.forget(device_id)

    def _begin(self, device_id: str) -> _Waiting:
        handle = asyncio.get_running_loop().call_later(GAP, self._tell, device_id)
        waiting = self._waiting[device_id] = _Waiting(handle)
        return waiting

    def _tell(self, device_id: str) -> None:
        waiting = self._waiting.pop(device_id)
        now = list(waiting.snapshots)[:MOST_SNAPSHOTS]
        if not waiting.changed and not now:
            return
        following = self._begin(device_id)
        following.snapshots = dict.fromkeys(list(waiting.snapshots)[MOST_SNAPSHOTS:])
        if waiting.changed:
            self._changed(device_id)
        for mission in now:
            self._snapshot(device_id, mission)
