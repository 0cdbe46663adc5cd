# SPDX-License-Identifier: Apache-2.0
"""Notes on hand-overs for as long as the host is up: the mission, and the unit started for one."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

from missiond.core import schema
from missiond.core.json_types import Count
from missiond.core.missions.missions import Leader, Mission
from missiond.core.schema import I63, U32, Later, Range
from missiond.daemon.handover.settling import Started
from missiond.store.record_store import RecordStore, Store, of

_LOGGER = logging.getLogger(__name__)
_KIND = "handover"
_ONLY = 1


@dataclass(frozen=True, slots=True)
class TransferMark:
    """Notes of one host on one transfer."""

    mission: Later[Annotated[int, Range(0, U32)]] = 0
    """At the source: number and leader of the mission."""
    pid: Later[Count] = 0
    start_ticks: Later[Annotated[int, Range(0, I63)]] = 0
    told: Later[bool] = False
    """Whether the mission may have been asked to stop."""
    identity: Later[str] = ""
    """Identity of the mission started here for this transfer; empty for none."""
    uid: Later[Annotated[int, Range(0, U32)]] = 0
    unit: Later[str] = ""
    """User and unit of the start; unknown for starts of an earlier version."""
    at: Later[Annotated[int, Range(0, I63)]] = 0
    """Time of the start, in ms of CLOCK_BOOTTIME."""
    pid_started: Later[Count] = 0
    """Main process of the unit."""
    settled: Later[bool] = False
    """Whether the unit has lived for long enough."""
    failed: Later[str] = ""
    """Reason of an early end, for people."""

    def is_of(self, mission: Mission) -> bool:
        """Whether a mission is the one noted here."""
        return (mission.id, mission.seen.leader) == (self.mission, Leader(self.pid, self.start_ticks))


@dataclass(frozen=True, slots=True)
class _Saved:
    marks: dict[str, Any]


class TransferMarks:
    """One file of notes in the runtime directory, emptied by a reboot together with the missions."""

    def __init__(self, files: RecordStore) -> None:
        self._records = Store(files, _KIND, of(_Saved))
        self._marks: dict[str, TransferMark] = {}

    def load(self) -> None:
        """Read the notes of an earlier run."""
        saved = self._records.load().get(_ONLY)
        for name, mark in (saved.marks if saved is not None else {}).items():
            try:
                self._marks[name] = schema.load(TransferMark, mark, exact=True)
            except ValueError as error:
                _LOGGER.warning("what is noted of hand-over %.32s can't be used: %s", name, error)

    def __getitem__(self, transfer: str) -> TransferMark:
        return self._marks.get(transfer, TransferMark())

    def __contains__(self, transfer: str) -> bool:
        return transfer in self._marks

    def leaves(self, transfer: str, mission: Mission, *, told: bool) -> None:
        """Note the mission of a transfer at the source; raises OSError."""
        leader = mission.seen.leader
        self._note(transfer, mission=mission.id, pid=leader.pid, start_ticks=leader.start_ticks, told=told)

    def started(self, transfer: str, identity: str, start: Started) -> None:
        """Note the unit started here for a transfer."""
        self._try(
            transfer,
            identity=identity,
            uid=start.uid,
            unit=start.unit,
            at=start.at,
            pid_started=start.pid,
            settled=False,
            failed="",
        )

    def settled(self, transfer: str) -> None:
        """Note the survival of the unit."""
        self._try(transfer, settled=True)

    def failed(self, transfer: str, why: str, *, again: bool) -> None:
        """Note the early end of the unit; with `again`, another start is free to begin."""
        self._try(transfer, **({"identity": ""} if again else {"failed": why}))

    def units(self) -> list[Started]:
        """List the units started here, as far as known."""
        return [Started(mark.uid, mark.unit, mark.at) for mark in self._marks.values() if mark.unit]

    def keep(self, transfers: Collection[str]) -> None:
        """Forget all other transfers."""
        gone = self._marks.keys() - set(transfers)
        if not gone:
            return
        for transfer in gone:
            del self._marks[transfer]
        try:
            self._save()
        except OSError as error:
            _LOGGER.debug("marks of hand-overs stay: %s", error)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._marks))

    def _note(self, transfer: str, **changes: Any) -> None:  # noqa: ANN401 (fields of a mark)
        self._marks[transfer] = replace(self[transfer], **changes)
        self._save()

    def _try(self, transfer: str, **changes: Any) -> None:  # noqa: ANN401 (fields of a mark)
        try:
            self._note(transfer, **changes)
        except OSError as error:
            _LOGGER.warning("what became of the start of %s is not noted: %s", transfer, error)

    def _save(self) -> None:
        if self._marks:
            self._records.save(_ONLY, _Saved({name: schema.dump(mark) for name, mark in self._marks.items()}))
        else:
            self._records.remove(_ONLY)
