# SPDX-License-Identifier: Apache-2.0
"""All processes kept alive, or with something left to undo."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from missiond.core.keepalive.inherited_scores import Key
from missiond.core.keepalive.protected_process import ProtectedProcess
from missiond.core.tasks.continuous import ContinuousTask
from missiond.host.processes.tree import look, ticks_now


class ProtectedProcesses:
    """The wards by process: an owner is one ward, however many tasks there are."""

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
        """Add the wards of an earlier run."""
        for ward in wards:
            self._by_key[ward.key] = ward
            self._next = max(self._next, ward.number + 1)

    def join(self, task: ContinuousTask) -> ProtectedProcess | None:
        """Add a task to the ward of the owner; None where the owner is gone."""
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
        """Return the ward of a task; None where there is none."""
        ward = self._by_key.get((task.owner.pid, task.owner.start_ticks))
        return ward if ward is not None and task.id in ward.tasks else None

    def leave(self, task: ContinuousTask) -> ProtectedProcess | None:
        """Remove a task from the ward, and return the ward; None where there is none."""
        ward = self.of(task)
        if ward is not None:
            ward.tasks.remove(task.id)
        return ward

    def forget(self, ward: ProtectedProcess) -> None:
        """Nothing is left to undo."""
        self._by_key.pop(ward.key, None)

    def others(self, ward: ProtectedProcess) -> list[ProtectedProcess]:
        """Return all wards with tasks but this one."""
        return [other for other in self._by_key.values() if other is not ward and other.tasks]
