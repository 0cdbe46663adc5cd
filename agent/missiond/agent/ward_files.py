# SPDX-License-Identifier: Apache-2.0
"""What the agent writes down before it touches processes, so that a later run can undo it."""

from __future__ import annotations

import logging
from typing import Any

from missiond.core.protection import Protections
from missiond.core.ward import Cgroup, Ward
from missiond.state.lease_files import LeaseFiles
from missiond.state.plain import MOST_PID, MOST_TIME, MOST_UID, text
from missiond.state.plain import number as plain

_LOGGER = logging.getLogger(__name__)
_KIND = "protection"
_NUMBERS = {"pid": MOST_PID, "start_ticks": MOST_TIME, "uid": MOST_UID, "since": MOST_TIME}
_ROW = ((1, MOST_PID), (0, MOST_TIME), (-1000, 1000), (-1000, 1000))
"""Process, its start, and oom_score_adj (proc(5)) before and after."""


class WardFiles:
    """One file for each ward, by its number, as long as something is to be undone."""

    def __init__(self, files: LeaseFiles, protections: Protections) -> None:
        self._files = files
        self._protections = protections
        self._written: set[int] = set()

    def write(self, ward: Ward) -> bool:
        """Write down how it is now; false where that failed, and nothing may be changed."""
        rows = self._protections.record(ward.number) + [
            [*change.key, change.after, change.before] for change in ward.debt
        ]
        try:
            if rows or ward.mark or ward.home:
                self._files.save(_KIND, ward.number, _record(ward, rows))
                self._written.add(ward.number)
            elif ward.number in self._written:
                self._files.remove(_KIND, ward.number)
                self._written.discard(ward.number)
        except (OSError, ValueError) as error:
            _LOGGER.warning("what is done for process %d can't be written down: %s", ward.pid, error)
            return False
        return True

    def load(self) -> list[Ward]:
        """All that an earlier run left; what can't be understood is logged and set aside."""
        found = []
        for number, record in self._files.load(_KIND):
            try:
                ward, rows = _parse(number, record)
            except (KeyError, TypeError, ValueError) as error:
                self._files.reject(_KIND, number, error)
                continue
            self._written.add(number)
            self._protections.restore(number, ward.since, rows)
            found.append(ward)
        return found


def _record(ward: Ward, rows: list[list[int]]) -> dict[str, Any]:
    places = {"mark": ward.mark, "home": ward.home}
    return {
        **{name: getattr(ward, name) for name in (*_NUMBERS, "cgroup")},
        **{name: [place.inode, place.path] if place else None for name, place in places.items()},
        "processes": rows,
    }


def _parse(number: int, record: dict[str, Any]) -> tuple[Ward, list[list[int]]]:
    numbers: dict[str, Any] = {name: plain(record[name], 0, most) for name, most in _NUMBERS.items()}
    rows, cgroup = record["processes"], record["cgroup"]
    if not isinstance(rows, list):
        raise TypeError("not a record of changes")
    if any(not isinstance(row, list) or len(row) != 4 for row in rows):
        raise ValueError("not a row of four numbers")
    for row in rows:
        for cell, (least, most) in zip(row, _ROW, strict=True):
            plain(cell, least, most)
    mark, home = _cgroup(record["mark"]), _cgroup(record["home"])
    return Ward(number, **numbers, cgroup=text(cgroup), mark=mark, home=home, pinned=home is not None), rows


def _cgroup(value: object) -> Cgroup | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise TypeError("not a cgroup")
    return Cgroup(plain(value[0], 0, 2**64 - 1), text(value[1]))
