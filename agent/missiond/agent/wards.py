# SPDX-License-Identifier: Apache-2.0
"""All processes that are kept alive, or that something is still to be undone for."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator

from missiond.core.continuous import ContinuousTask
from missiond.core.protection import Key
from missiond.core.ward import Ward
from missiond.host.process_tree import look

_TICKS = os.sysconf("SC_CLK_TCK")


class Wards:
    """By process: however many tasks an owner has, it is one ward."""

    def __init__(self) -> None:
        self._by_key: dict[Key, Ward] = {}
        self._next = 1

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Ward]:
        return iter(list(self._by_key.values()))

    def __contains__(self, ward: Ward) -> bool:
        return self._by_key.get(ward.key) is ward

    def take_up(self, wards: Iterable[Ward]) -> None:
        """Have those that an earlier run left."""
        for ward in wards:
            self._by_key[ward.key] = ward
            self._next = max(self._next, ward.number + 1)

    def join(self, task: ContinuousTask) -> Ward | None:
        """Add a task to its owner's ward; None where the owner is gone."""
        owner = task.owner
        ward = self._by_key.get((owner.pid, owner.start_ticks))
        if ward is None:
            try:
                cgroup = look(owner.pid).cgroup
            except (OSError, ValueError):
                return None
            since = int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS)
            ward = Ward(self._next, owner.pid, owner.start_ticks, owner.uid, cgroup, since)
            self._by_key[ward.key] = ward
            self._next += 1
        ward.tasks.add(task.id)
        return ward

    def of(self, task: ContinuousTask) -> Ward | None:
        """Return the ward that has this task; None where it has none."""
        ward = self._by_key.get((task.owner.pid, task.owner.start_ticks))
        return ward if ward is not None and task.id in ward.tasks else None

    def leave(self, task: ContinuousTask) -> Ward | None:
        """Take a task out; its ward, which may have others, None where it has none."""
        ward = self.of(task)
        if ward is not None:
            ward.tasks.remove(task.id)
        return ward

    def forget(self, ward: Ward) -> None:
        """Nothing is left to undo."""
        self._by_key.pop(ward.key, None)

    def others(self, ward: Ward) -> list[Ward]:
        """Return all but this one that have tasks."""
        return [other for other in self._by_key.values() if other is not ward and other.tasks]
