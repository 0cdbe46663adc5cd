# SPDX-License-Identifier: Apache-2.0
"""What one peer may send of hand-overs."""

from __future__ import annotations

from missiond.core.link.interfaces import Reply, StateSink
from missiond.errors import DistributedServiceFailed, PermissionDenied
from missiond.peers.agent.notifier import AgentNotifier
from missiond.peers.device import Device
from missiond.peers.handover.transfers import Transfers
from missiond.peers.log_limiter import PeerLogLimiter

BEGINS = frozenset({"offer", "pull"})
"""Steps that begin something: a mission is offered to this host, or one of this host is asked for."""

_UNPERMITTED = (
    "this device may neither start programs there nor fetch missions from there; somebody has to give it the "
    "permission 'continue' on that host first"
)


class InboundPolicy:
    """A Desk, for one peer.

    It needs the permission `continue` for whatever begins a hand-over: for the steps of `BEGINS`, of which
    one has this host start a program and the other has it give one away, and for every message about a
    transfer that the agent has not named. State is taken only where the agent expects it.
    """

    def __init__(
        self, device: Device, transfers: Transfers, notifier: AgentNotifier, complaints: PeerLogLimiter
    ) -> None:
        self._device = device
        self._transfers = transfers
        self._notifier = notifier
        self._complaints = complaints

    def letter(self, transfer: str, step: str, body: str, reply: Reply) -> None:
        """Pass it on to the agent, unless the peer may not send it."""
        device = self._device
        known = self._transfers.knows(device.device_id, transfer)
        if not device.may_continue and (step in BEGINS or not known):
            self._complaints.report(device.shown, "hands missions over without the permission 'continue'")
            reply(PermissionDenied(_UNPERMITTED))
            return
        self._notifier.handover(device, transfer, step, body, reply)

    def state(self, transfer: str, offset: int, size: int) -> StateSink:
        """Return where it goes; raises DistributedServiceFailed where the agent does not expect it."""
        writer = self._transfers.expected(self._device.device_id, transfer)
        if writer is None:
            raise DistributedServiceFailed("that host does not expect this state; offer it first")
        if size != writer.size:
            raise DistributedServiceFailed(
                f"that host expects a state of {writer.size} bytes, not of {size}; offer it anew"
            )
        if offset > writer.offset:
            raise DistributedServiceFailed(
                f"that host has {writer.offset} bytes of the state; send it from there on, not from {offset}"
            )
        return writer
