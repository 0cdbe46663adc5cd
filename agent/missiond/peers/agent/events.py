# SPDX-License-Identifier: Apache-2.0
"""What the peer unit tells whoever runs it."""

from __future__ import annotations

from typing import Protocol

from missiond.core.link.interfaces import Reply as Outcome
from missiond.core.sync.events import Reply
from missiond.errors import AgentError
from missiond.peers.device import Device


class UnitEvents(Protocol):
    """Called from the loop; must not raise."""

    def lacks(self, what: str, sentence: str | None) -> None:
        """Something is missing on this host, and what that costs, in a sentence; None once it is there."""

    def peer_changed(self, device: Device) -> None:
        """A device is new, or its row is another."""

    def details_changed(self, device: Device) -> None:
        """What there is to say of a device beside its row is another."""

    def peer_gone(self, device_id: str) -> None:
        """A device is in no list any more."""

    def pairing_requested(self, device_id: str, name: str, code: str) -> None:
        """People are to compare a code that they did not ask for."""

    def net_disconnect(self, device: Device) -> None:
        """A peer that was there is not any more."""

    def refused(self, device: Device) -> None:
        """A peer gives no list any more, because of `device.refusal`; again when it refuses again."""

    def list_changed(self, device: Device) -> None:
        """What is known of a peer's missions has changed."""

    def snapshot_changed(self, device: Device, mission: int) -> None:
        """There is something new to see of one of its missions."""

    def snapshots_wanted(self, *, on: bool) -> None:
        """Whether any peer wants to hear of snapshots of missions of this host."""

    def link_up(self, device: Device, *, handovers: bool) -> None:
        """There is a new link to a device, on which nothing is under way.

        Said again when one takes another's place. `handovers` tells whether it knows what a hand-over is.
        """

    def link_down(self, device: Device) -> None:
        """There is none any more."""

    def handover(self, device: Device, transfer: str, step: str, body: str, reply: Outcome) -> None:
        """A peer has something to say about a hand-over; the next only comes once `reply` has been called."""

    def state_progress(self, device: Device, transfer: str, done: int, size: int, *, sending: bool) -> None:
        """So many bytes of a state are where they belong."""

    def state_complete(self, device: Device, transfer: str) -> None:
        """A state that was expected is there; may be said again."""

    def state_failed(self, device: Device, transfer: str, error: AgentError) -> None:
        """What comes of a state can't be kept; it may be sent again."""

    def asked(self, what: str, mission: int, reply: Reply) -> None:
        """A peer wants to know more about a mission of this host."""
