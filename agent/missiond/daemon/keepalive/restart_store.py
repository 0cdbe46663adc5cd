# SPDX-License-Identifier: Apache-2.0
"""What the agent writes down of services that it keeps running, so that a later run can go on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from missiond.core.keepalive.service_restart import RestartedService
from missiond.store.checks import MOST_UID, number, text
from missiond.store.record_store import RecordStore
from missiond.units.requests import DROP_IN, is_service

_KIND = "restart"


@dataclass(frozen=True, slots=True)
class Kept:
    """The service of a task; `changed` where its manager was, or is about to be, told to start it again.

    `forgotten`: its manager forgets it at once when it fails, whatever it was told. `undone`: all of that was
    taken back while the agent did not run, and is to be told again where the task goes on.
    """

    service: RestartedService
    changed: bool
    forgotten: bool = False
    undone: bool = False


class RestartStore:
    """One file for each task, by its id; it stays until all is as it was."""

    def __init__(self, files: RecordStore) -> None:
        self._files = files

    def save(self, task: int, kept: Kept) -> None:
        """Write or replace; raises OSError."""
        service = kept.service
        record = {
            "manager": service.manager,
            "service": service.name,
            "cgroup": service.cgroup,
            "changed": kept.changed,
            "forgotten": kept.forgotten,
            "undone": kept.undone,
        }
        self._files.save(_KIND, task, record)

    def remove(self, task: int) -> None:
        """Nothing is left to undo; raises OSError."""
        self._files.remove(_KIND, task)

    def load(self) -> dict[int, Kept]:
        """All that an earlier run left; what can't be understood is logged and set aside."""
        found = {}
        for task, record in self._files.load(_KIND):
            try:
                found[task] = _parse(record)
            except (KeyError, TypeError, ValueError) as error:
                self._files.reject(_KIND, task, error)
        return found


def is_drop_in_gone(service: RestartedService) -> bool:
    """Whether what was written for a service is not there any more, as far as that is to be seen.

    Those of users' managers are in directories that nobody else can look into.
    """
    return service.manager is None and not Path(f"/run/systemd/system/{service.name}.d", DROP_IN).exists()


def _parse(record: dict[str, Any]) -> Kept:
    manager, name, cgroup = record["manager"], record["service"], record["cgroup"]
    flags = record["changed"], record.get("forgotten", False), record.get("undone", False)
    if manager is not None:
        number(manager, 0, MOST_UID)
    if not is_service(text(name)) or any(type(flag) is not bool for flag in flags):
        raise TypeError("not a record of a service")
    return Kept(RestartedService(manager, name, text(cgroup)), *flags)
