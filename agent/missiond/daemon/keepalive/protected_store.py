# SPDX-License-Identifier: Apache-2.0
"""The records of changes to processes, written before each change for a later run to undo."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import NamedTuple

from missiond.core.json_types import BootTime, Count, Pid, Score, Uid
from missiond.core.keepalive.inherited_scores import Scope, domain_of, first_owners
from missiond.core.keepalive.oom_ledger import Protections
from missiond.core.keepalive.protected_process import Cgroup, ProtectedProcess
from missiond.core.schema import Later
from missiond.store.record_store import RecordStore, Store, of

_LOGGER = logging.getLogger(__name__)
_KIND = "protection"


class _Scope(NamedTuple):
    since: BootTime
    floor: Score
    above: frozenset[tuple[Pid, BootTime]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Saved:
    pid: Count
    start_ticks: BootTime
    uid: Uid
    since: BootTime
    cgroup: str
    mark: Cgroup | None
    home: Cgroup | None
    processes: list[tuple[Pid, BootTime, Score, Score]]
    """Process, its start, and oom_score_adj (proc(5)) before and after."""
    scope: Later[_Scope | None] = None


class WardFiles:
    """The records of wards: a file for each number, as long as something is left to undo."""

    def __init__(self, files: RecordStore, protections: Protections) -> None:
        self._records = Store(files, _KIND, of(_Saved))
        self._protections = protections
        self._written: set[int] = set()

    def write(self, ward: ProtectedProcess) -> bool:
        """Write the record of a ward; false where writing failed, and nothing may be changed."""
        rows = self._protections.record(ward.number) + [
            (*each.key, each.least, each.least) for each in ward.debt
        ]
        try:
            if rows or ward.mark or ward.home:
                scope = self._protections.scope(ward.number) if ward.number in self._protections else None
                self._records.save(ward.number, _saved(ward, rows, scope))
                self._written.add(ward.number)
            elif ward.number in self._written:
                self._records.remove(ward.number)
                self._written.discard(ward.number)
        except (OSError, ValueError) as error:
            _LOGGER.warning("what is done for process %d can't be written down: %s", ward.pid, error)
            return False
        return True

    def load(self) -> list[ProtectedProcess]:
        """Return the wards of an earlier run; damaged records are logged and set aside."""
        found = []
        for number, saved in self._records.load().items():
            self._written.add(number)
            self._protections.restore(number, _scope(saved), saved.processes)
            found.append(
                ProtectedProcess(
                    number,
                    saved.pid,
                    saved.start_ticks,
                    saved.uid,
                    saved.cgroup,
                    saved.since,
                    mark=saved.mark,
                    home=saved.home,
                    pinned=saved.home is not None,
                )
            )
        return found


def _saved(ward: ProtectedProcess, rows: list[tuple[int, int, int, int]], scope: Scope | None) -> _Saved:
    return _Saved(
        pid=ward.pid,
        start_ticks=ward.start_ticks,
        uid=ward.uid,
        since=ward.since,
        cgroup=ward.cgroup,
        mark=ward.mark,
        home=ward.home,
        processes=rows,
        scope=None if scope is None else _Scope(scope.since, scope.floor, scope.above),
    )


def _scope(saved: _Saved) -> Scope:
    """Return where inherited scores are looked for; earlier versions wrote nothing of it."""
    since, floor, above = saved.scope or _Scope(saved.since, 0, frozenset())
    owners = first_owners((saved.pid, saved.start_ticks), saved.since, since)
    return Scope(saved.uid, domain_of(saved.cgroup), since, floor, above, owners)
