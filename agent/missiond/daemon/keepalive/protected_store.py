# SPDX-License-Identifier: Apache-2.0
"""What the agent writes down before it touches processes, so that a later run can undo it."""

from __future__ import annotations

import logging
from typing import Any

from missiond.core.keepalive.inherited_scores import Scope, domain_of
from missiond.core.keepalive.oom_ledger import Protections
from missiond.core.keepalive.protected_process import Cgroup, ProtectedProcess
from missiond.store.checks import MOST_PID, MOST_TIME, MOST_UID, text
from missiond.store.checks import number as plain
from missiond.store.record_store import RecordStore

_LOGGER = logging.getLogger(__name__)
_KIND = "protection"
_NUMBERS = {"pid": MOST_PID, "start_ticks": MOST_TIME, "uid": MOST_UID, "since": MOST_TIME}
_ROW = ((1, MOST_PID), (0, MOST_TIME), (-1000, 1000), (-1000, 1000))
"""Process, its start, and oom_score_adj (proc(5)) before and after."""


class WardFiles:
    """One file for each ward, by its number, as long as something is to be undone."""

    def __init__(self, files: RecordStore, protections: Protections) -> None:
        self._files = files
        self._protections = protections
        self._written: set[int] = set()

    def write(self, ward: ProtectedProcess) -> bool:
        """Write down how it is now; false where that failed, and nothing may be changed."""
        rows = self._protections.record(ward.number) + [
            [*each.key, each.least, each.least] for each in ward.debt
        ]
        try:
            if rows or ward.mark or ward.home:
                scope = self._protections.scope(ward.number) if ward.number in self._protections else None
                self._files.save(_KIND, ward.number, _record(ward, rows, scope))
                self._written.add(ward.number)
            elif ward.number in self._written:
                self._files.remove(_KIND, ward.number)
                self._written.discard(ward.number)
        except (OSError, ValueError) as error:
            _LOGGER.warning("what is done for process %d can't be written down: %s", ward.pid, error)
            return False
        return True

    def load(self) -> list[ProtectedProcess]:
        """All that an earlier run left; what can't be understood is logged and set aside."""
        found = []
        for number, record in self._files.load(_KIND):
            try:
                ward, rows, scope = _parse(number, record)
            except (KeyError, TypeError, ValueError) as error:
                self._files.reject(_KIND, number, error)
                continue
            self._written.add(number)
            self._protections.restore(number, scope, rows)
            found.append(ward)
        return found


def _record(ward: ProtectedProcess, rows: list[list[int]], scope: Scope | None) -> dict[str, Any]:
    places = {"mark": ward.mark, "home": ward.home}
    return {
        **{name: getattr(ward, name) for name in (*_NUMBERS, "cgroup")},
        **{name: [place.inode, place.path] if place else None for name, place in places.items()},
        "processes": rows,
        "scope": None if scope is None else [scope.since, scope.floor, sorted(map(list, scope.above))],
    }


def _parse(number: int, record: dict[str, Any]) -> tuple[ProtectedProcess, list[list[int]], Scope]:
    numbers: dict[str, Any] = {name: plain(record[name], 0, most) for name, most in _NUMBERS.items()}
    rows, cgroup = record["processes"], text(record["cgroup"])
    _check_rows(rows, _ROW)
    mark, home = _cgroup(record["mark"]), _cgroup(record["home"])
    ward = ProtectedProcess(number, **numbers, cgroup=cgroup, mark=mark, home=home, pinned=home is not None)
    return ward, rows, _scope(record.get("scope"), ward)


def _scope(value: object, ward: ProtectedProcess) -> Scope:
    """What is written of it; earlier versions wrote nothing."""
    domain = domain_of(ward.cgroup)
    if value is None:
        return Scope(ward.uid, domain, ward.since, 0)
    if not isinstance(value, list) or len(value) != 3:
        raise TypeError("not a scope")
    since, floor = plain(value[0], 0, MOST_TIME), plain(value[1], -1000, 1000)
    _check_rows(value[2], _ROW[:2])
    return Scope(ward.uid, domain, since, floor, frozenset((pid, start) for pid, start in value[2]))


def _check_rows(rows: object, columns: tuple[tuple[int, int], ...]) -> None:
    if not isinstance(rows, list):
        raise TypeError("not a list of processes")
    for row in rows:
        if not isinstance(row, list) or len(row) != len(columns):
            raise ValueError(f"not a row of {len(columns)} numbers")
        for cell, (least, most) in zip(row, columns, strict=True):
            plain(cell, least, most)


def _cgroup(value: object) -> Cgroup | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise TypeError("not a cgroup")
    return Cgroup(plain(value[0], 0, 2**64 - 1), text(value[1]))
