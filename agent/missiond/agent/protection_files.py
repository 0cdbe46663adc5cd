# SPDX-License-Identifier: Apache-2.0
"""What the agent writes down before it touches processes, so that a later run can undo it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from missiond.state.lease_files import LeaseFiles

_LOGGER = logging.getLogger(__name__)
_KIND = "protection"


@dataclass(frozen=True, slots=True)
class Guarded:
    """The owner of a task: its process and cgroup when the task began, at `since` clock ticks after boot."""

    pid: int
    start_ticks: int
    cgroup: str
    since: int


class ProtectionFiles:
    """One file for each task, by its id; it stays until all is as it was."""

    def __init__(self, files: LeaseFiles) -> None:
        self._files = files

    def save(self, task: int, guarded: Guarded, rows: list[list[int]]) -> None:
        """Write or replace; raises OSError."""
        record = {
            "pid": guarded.pid,
            "start_ticks": guarded.start_ticks,
            "cgroup": guarded.cgroup,
            "since": guarded.since,
            "processes": rows,
        }
        self._files.save(_KIND, task, record)

    def remove(self, task: int) -> None:
        """Nothing is left to undo; raises OSError."""
        self._files.remove(_KIND, task)

    def load(self) -> list[tuple[int, Guarded, list[list[int]]]]:
        """All that an earlier run left; what can't be understood is logged and dropped."""
        found = []
        for task, record in self._files.load(_KIND):
            try:
                found.append((task, *_parse(record)))
            except (KeyError, TypeError, ValueError) as error:
                _LOGGER.error("what task %d changed is lost: %r", task, error)
                self._files.remove(_KIND, task)
        return found


def _parse(record: dict[str, Any]) -> tuple[Guarded, list[list[int]]]:
    numbers = [record["pid"], record["start_ticks"], record["since"]]
    rows, cgroup = record["processes"], record["cgroup"]
    if not isinstance(cgroup, str) or not isinstance(rows, list):
        raise TypeError("not a record of changes")
    if any(not isinstance(row, list) or len(row) != 4 for row in rows):
        raise ValueError("not a row of four numbers")
    if any(type(number) is not int for number in [*numbers, *(cell for row in rows for cell in row)]):
        raise TypeError("not a number")
    return Guarded(numbers[0], numbers[1], cgroup, numbers[2]), rows
