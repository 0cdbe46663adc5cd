# SPDX-License-Identifier: Apache-2.0
"""What the agent writes down of services that it keeps running, so that a later run can go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from missiond.core.restart import Service
from missiond.helper.unit_questions import is_service
from missiond.state.lease_files import LeaseFiles
from missiond.state.plain import MOST_UID, number, text

_KIND = "restart"


@dataclass(frozen=True, slots=True)
class Kept:
    """The service of a task; `changed` where its manager was, or is about to be, told to start it again.

    `forgotten`: its manager forgets it at once when it fails, whatever it was told.
    """

    service: Service
    changed: bool
    forgotten: bool = False


class RestartFiles:
    """One file for each task, by its id; it stays until all is as it was."""

    def __init__(self, files: LeaseFiles) -> None:
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


def _parse(record: dict[str, Any]) -> Kept:
    manager, name, cgroup = record["manager"], record["service"], record["cgroup"]
    changed, forgotten = record["changed"], record.get("forgotten", False)
    if manager is not None:
        number(manager, 0, MOST_UID)
    if not is_service(text(name)) or type(changed) is not bool or type(forgotten) is not bool:
        raise TypeError("not a record of a service")
    return Kept(Service(manager, name, text(cgroup)), changed, forgotten)
