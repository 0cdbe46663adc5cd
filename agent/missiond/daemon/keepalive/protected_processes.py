# SPDX-License-Identifier: Apache-2.0
"""All processes that are kept alive, or that something is still to be undone for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from missiond.core.keepalive.inherited_scores import Key
from missiond.core.keepalive.protected_process import ProtectedProcess
from missiond.core.tasks.continuous import ContinuousTask
from missiond.host.processes.tree import look, ticks_now


class ProtectedProcesses:
    """By process: however many tasks an owner has, it is one ward."""

    def __init__(self) -> None:
        self._by_key: dict[Key, ProtectedProcess] = {}
        self._next = 1

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[ProtectedProcess]:
        return iter(list(self._by_key.values()))

    def __contains__(self, ward: ProtectedProcess) -> bool:
        return self._by_key.get(ward.key) is ward

    def take_up(self, wards: Iterable[ProtectedProcess]) -> None:
        """Have those that an earlier run left."""
        for ward in wards:
            self._by_key[ward.key] = ward
            self._next = max(self._next, ward.number + 1)

    def join(self, task: ContinuousTask) -> ProtectedProcess | None:
        """Add a task to its owner's ward; None where the owner is gone."""
        owner = task.owner
        ward = self._by_key.get((owner.pid, owner.start_ticks))
        if ward is None:
            try:
                cgroup = look(owner.pid).cgroup
            except (OSError, ValueError):
                return None
            ward = ProtectedProcess(self._next, owner.pid, owner.start_ticks, owner.uid, cgroup, ticks_now())
            self._by_key[ward.key] = ward
            self._next += 1
        ward.tasks.add(task.id)
        return ward

    def of(self, task: ContinuousTask) -> ProtectedProcess | None:
        """Return the ward that has this task; None where it has none."""
        ward = self._by_key.get((task.owner.pid, task.owner.start_ticks))
        return ward if ward is not None and task.id in ward.tasks else None

    def leave(self, task: ContinuousTask) -> ProtectedProcess | None:
        """Take a task out; its ward, which may have others, None where it has none."""
        ward = self.of(task)
        if ward is not None:
            ward.tasks.remove(task.id)
        return ward

    def forget(self, ward: ProtectedProcess) -> None:
        """Nothing is left to undo."""
        self._by_key.pop(ward.key, None)

    def others(self, ward: ProtectedProcess) -> list[ProtectedProcess]:
        """Return all but this one that have tasks."""
        return [other for other in self._by_key.values() if other is not ward and other.tasks]
