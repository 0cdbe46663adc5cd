# SPDX-License-Identifier: Apache-2.0
"""How long and how much a hand-over may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HandoverLimits:
    """Times in ms, sizes in bytes. The times are those of upstream's documents."""

    answer: int = 10_000
    """For the owner, to say whether it agrees and to give its state."""
    overall: int = 20_000
    """From the request until the state begins to travel."""
    overall_free_install: int = 40_000
    """The same where the target may have to install the program."""
    stall: int = 20_000
    """Without progress of the state, from either side's view."""
    retry_least: int = 1_000
    """Before the first repetition of a message that waits for its answer on a link that is up."""
    probe: int = 2_000
    """Between looks whether the other side still knows of what is not written down there yet."""
    retry_most: int = 60_000
    """Between repetitions, which are twice as far apart each time."""
    state: int = 1 << 30
    """The largest state that a target takes."""
    per_peer: int = 16
    """Transfers from one peer that a target holds before they are started."""
    unsettled: int = 64
    """The same with those that have an outcome of which the peer has not confirmed that it knows."""
    states_per_peer: int = 4
    """How many times `state` all states from one peer may be that a target keeps, until each is settled."""
    states: int = 8
    """The same from all peers."""

    def until_state(self, free_install: bool) -> int:
        """The time until the state begins to travel."""
        return self.overall_free_install if free_install else self.overall

    def retry(self, attempt: int) -> int:
        """The time before repetition number `attempt`, from 0."""
        return min(self.retry_least << min(attempt, 16), self.retry_most)
