# SPDX-License-Identifier: Apache-2.0
"""What is remembered of hand-overs for as long as the host is up: which mission, and what was started."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from missiond.core.missions import Leader, Mission
from missiond.state.lease_files import LeaseFiles

_LOGGER = logging.getLogger(__name__)
_KIND = "handover"
_ONLY = 1


@dataclass(frozen=True, slots=True)
class Mark:
    """Of one transfer, on one of its hosts."""

    mission: int = 0
    """At the source: its number, and who led it."""
    pid: int = 0
    start_ticks: int = 0
    told: bool = False
    """Whether it may have been told to stop."""
    identity: str = ""
    """Of the mission that was started here for this transfer; empty where none was."""

    def is_of(self, mission: Mission) -> bool:
        """Whether that is the mission that it was."""
        return (mission.id, mission.seen.leader) == (self.mission, Leader(self.pid, self.start_ticks))


class Marks:
    """One file in the runtime directory, which a reboot empties: then nothing of all this runs any more."""

    def __init__(self, files: LeaseFiles) -> None:
        self._files = files
        self._marks: dict[str, Mark] = {}

    def load(self) -> None:
        """Read what an earlier run noted."""
        for number, record in self._files.load(_KIND):
            marks = record.get("marks")
            if number == _ONLY and isinstance(marks, dict):
                self._marks = {name: found for name, data in marks.items() if (found := _mark(data))}

    def __getitem__(self, transfer: str) -> Mark:
        return self._marks.get(transfer, Mark())

    def __contains__(self, transfer: str) -> bool:
        return transfer in self._marks

    def leaves(self, transfer: str, mission: Mission, *, told: bool) -> None:
        """A mission of this host is handed over; raises OSError where that can't be noted."""
        leader = mission.seen.leader
        self._note(transfer, mission=mission.id, pid=leader.pid, start_ticks=leader.start_ticks, told=told)

    def started(self, transfer: str, identity: str) -> None:
        """A mission runs here for this transfer."""
        try:
            self._note(transfer, identity=identity)
        except OSError as error:
            _LOGGER.warning("that %s was started is not noted: %s", transfer, error)

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

    def _save(self) -> None:
        if self._marks:
            marks = {name: asdict(mark) for name, mark in self._marks.items()}
            self._files.save(_KIND, _ONLY, {"marks": marks})
        else:
            self._files.remove(_KIND, _ONLY)


def _mark(data: object) -> Mark | None:
    if not isinstance(data, dict):
        return None
    plain = Mark()
    types = {name: type(value) for name, value in asdict(plain).items()}
    if data.keys() != types.keys() or any(type(data[name]) is not kind for name, kind in types.items()):
        return None
    return Mark(**data)
