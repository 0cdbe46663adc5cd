# SPDX-License-Identifier: Apache-2.0
"""What is remembered of hand-overs for as long as the host is up: which mission, and what was started."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from missiond.core.missions.missions import Leader, Mission
from missiond.daemon.launch.settling import Started
from missiond.store.record_store import RecordStore

_LOGGER = logging.getLogger(__name__)
_KIND = "handover"
_ONLY = 1


@dataclass(frozen=True, slots=True)
class TransferMark:
    """Of one transfer, on one of its hosts."""

    mission: int = 0
    """At the source: its number, and who led it."""
    pid: int = 0
    start_ticks: int = 0
    told: bool = False
    """Whether it may have been told to stop."""
    identity: str = ""
    """Of the mission that was started here for this transfer; empty where none was."""
    uid: int = 0
    unit: str = ""
    """As whom, and as what; unknown of what an earlier version started."""
    at: int = 0
    """When, in ms of CLOCK_BOOTTIME."""
    pid_started: int = 0
    """Its main process."""
    settled: bool = False
    """Whether it has lived on."""
    failed: str = ""
    """Why it has not, for people."""

    def is_of(self, mission: Mission) -> bool:
        """Whether that is the mission that it was."""
        return (mission.id, mission.seen.leader) == (self.mission, Leader(self.pid, self.start_ticks))


class TransferMarks:
    """One file in the runtime directory, which a reboot empties: then nothing of all this runs any more."""

    def __init__(self, files: RecordStore) -> None:
        self._files = files
        self._marks: dict[str, TransferMark] = {}

    def load(self) -> None:
        """Read what an earlier run noted."""
        for number, record in self._files.load(_KIND):
            marks = record.get("marks")
            if number == _ONLY and isinstance(marks, dict):
                self._marks = {name: found for name, data in marks.items() if (found := _mark(data))}

    def __getitem__(self, transfer: str) -> TransferMark:
        return self._marks.get(transfer, TransferMark())

    def __contains__(self, transfer: str) -> bool:
        return transfer in self._marks

    def leaves(self, transfer: str, mission: Mission, *, told: bool) -> None:
        """A mission of this host is handed over; raises OSError where that can't be noted."""
        leader = mission.seen.leader
        self._note(transfer, mission=mission.id, pid=leader.pid, start_ticks=leader.start_ticks, told=told)

    def started(self, transfer: str, identity: str, start: Started) -> None:
        """A mission runs here for this transfer."""
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
        """It has lived on."""
        self._try(transfer, settled=True)

    def failed(self, transfer: str, why: str, *, again: bool) -> None:
        """It has not; `again`: whoever wants it started is not held up by that."""
        self._try(transfer, **({"identity": ""} if again else {"failed": why}))

    def units(self) -> list[Started]:
        """What was started here, as far as it is known."""
        return [Started(mark.uid, mark.unit, mark.at) for mark in self._marks.values() if mark.unit]

    def keep(self, transfers: Collection[str]) -> None:
        """Forget all others."""
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
            marks = {name: asdict(mark) for name, mark in self._marks.items()}
            self._files.save(_KIND, _ONLY, {"marks": marks})
        else:
            self._files.remove(_KIND, _ONLY)


def _mark(data: object) -> TransferMark | None:
    if not isinstance(data, dict):
        return None
    types = {name: type(value) for name, value in asdict(TransferMark()).items()}
    if not data.keys() <= types.keys() or any(type(value) is not types[name] for name, value in data.items()):
        return None
    return TransferMark(**data)  # what an earlier version did not know has its default
