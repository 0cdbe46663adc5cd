# SPDX-License-Identifier: Apache-2.0
"""Hand-overs as people see them."""

from __future__ import annotations

from dataclasses import dataclass

from missiond.core.handover.record import Record
from missiond.core.handover.state import Phase, Role

_IN_DOUBT = frozenset(
    {(Role.SOURCE, Phase.COMMITTED), (Role.SOURCE, Phase.STRANDED), (Role.TARGET, Phase.PREPARED)}
)


@dataclass(frozen=True, slots=True)
class InFlight:
    """One hand-over that is not over on this host."""

    record: Record
    linked: bool
    """Whether there is a link to the peer."""
    readable: bool = True
    """False where its file cannot be read: then there is nothing but its id, and people have to look."""

    @property
    def in_doubt(self) -> bool:
        """Whether it waits for the other host, or for people, with the mission perhaps running nowhere."""
        return not self.readable or (self.record.role, self.record.phase) in _IN_DOUBT

    @property
    def can_reclaim(self) -> bool:
        """Whether a person may take it back on this host."""
        return self.in_doubt and self.readable and self.record.role is Role.SOURCE
