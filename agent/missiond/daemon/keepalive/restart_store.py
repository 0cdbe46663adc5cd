# SPDX-License-Identifier: Apache-2.0
"""The records of services kept running, for a later run of the agent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from missiond.core.json_types import Uid
from missiond.core.keepalive.service_restart import RestartedService
from missiond.core.schema import BadValue, Checked, Later
from missiond.store.record_store import RecordStore, Store, of
from missiond.units.requests import DROP_IN, is_service

_KIND = "restart"


def _service_name(value: str) -> str:
    if not is_service(value):
        raise BadValue("no name of a service")
    return value


@dataclass(frozen=True, slots=True)
class _Saved:
    manager: Uid | None
    service: Annotated[str, Checked(_service_name)]
    cgroup: str
    changed: bool
    forgotten: Later[bool] = False
    undone: Later[bool] = False


@dataclass(frozen=True, slots=True)
class Kept:
    """The service of a task; `changed` where the manager was, or is about to be, told to restart the service.

    `forgotten`: its manager forgets it at once when it fails, whatever it was told. `undone`: all of that was
    taken back while the agent did not run, and is to be told again where the task goes on.
    """

    service: RestartedService
    changed: bool
    forgotten: bool = False
    undone: bool = False


class RestartStore:
    """The records of services: a file for each task, by id, until all is undone."""

    def __init__(self, files: RecordStore) -> None:
        self._records = Store(files, _KIND, of(_Saved))

    def save(self, task: int, kept: Kept) -> None:
        """Write or replace; raises OSError."""
        service = kept.service
        flags = kept.changed, kept.forgotten, kept.undone
        self._records.save(task, _Saved(service.manager, service.name, service.cgroup, *flags))

    def remove(self, task: int) -> None:
        """Nothing is left to undo; raises OSError."""
        self._records.remove(task)

    def load(self) -> dict[int, Kept]:
        """Return the records of an earlier run; damaged ones are logged and set aside."""
        return {
            task: Kept(
                RestartedService(saved.manager, saved.service, saved.cgroup),
                saved.changed,
                saved.forgotten,
                saved.undone,
            )
            for task, saved in self._records.load().items()
        }


def is_drop_in_gone(service: RestartedService) -> bool:
    """Whether the drop-in of a service is gone, as far as the agent can see.

    Those of users' managers are in directories that nobody else can look into.
    """
    return service.manager is None and not Path(f"/run/systemd/system/{service.name}.d", DROP_IN).exists()
