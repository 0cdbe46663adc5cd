# SPDX-License-Identifier: Apache-2.0
"""Transfers of the agent, states to come, and the permission of peers to send."""

from __future__ import annotations

from collections.abc import Iterator

from missiond.core.handover.messages import BEGINS
from missiond.core.link.interfaces import Reply, StateSink
from missiond.errors import AgentError, DistributedServiceFailed, PermissionDenied, TransactionFailed
from missiond.peers.agent.notifier import AgentNotifier
from missiond.peers.device import Device
from missiond.peers.handover.state_files import StateWriter
from missiond.peers.log_limiter import PeerLogLimiter

MOST_TRANSFERS = 4096
MOST_EXPECTED = 64
_UNPERMITTED = (
    "this device may neither start programs there nor fetch missions from there; somebody has to give it the "
    "permission 'continue' on that host first"
)

Key = tuple[str, str]
"""Id of the device, id of the transfer."""


class Transfers:
    """The known transfers, bounded: TransactionFailed refuses the agent more."""

    def __init__(self) -> None:
        self._known: set[Key] = set()
        self._expected: dict[Key, StateWriter] = {}

    def __iter__(self) -> Iterator[Key]:
        return iter(list(self._known))

    def knows(self, device_id: str, transfer: str) -> bool:
        """Return whether the agent has named the transfer."""
        return (device_id, transfer) in self._known

    def learn(self, device_id: str, transfer: str) -> None:
        """Add a transfer named by the agent."""
        if (device_id, transfer) not in self._known and len(self._known) >= MOST_TRANSFERS:
            raise TransactionFailed(f"{MOST_TRANSFERS} transfers are known; forget those that are over")
        self._known.add((device_id, transfer))

    def expected(self, device_id: str, transfer: str) -> StateWriter | None:
        """Return the writer of an expected state, None for no such state."""
        return self._expected.get((device_id, transfer))

    def room(self) -> None:
        """Raise TransactionFailed where nothing more can be expected."""
        if len(self._expected) >= MOST_EXPECTED:
            raise TransactionFailed(f"{MOST_EXPECTED} states are expected; forget those that are over")

    def expect(self, device_id: str, transfer: str, writer: StateWriter) -> None:
        """Expect a state of a transfer."""
        self._expected[device_id, transfer] = writer

    def take(self, device_id: str, transfer: str) -> StateWriter | None:
        """Stop to expect a state, and return the writer."""
        return self._expected.pop((device_id, transfer), None)

    def forget(self, key: Key, error: AgentError) -> None:
        """Forget a transfer; the state is refused from now on."""
        self._known.discard(key)
        writer = self._expected.pop(key, None)
        if writer is not None:
            writer.close(error)


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
        """Pass a message on to the agent, unless the peer lacks the permission to send."""
        device = self._device
        known = self._transfers.knows(device.device_id, transfer)
        if not device.may_continue and (step in BEGINS or not known):
            self._complaints.report(device.shown, "hands missions over without the permission 'continue'")
            reply(PermissionDenied(_UNPERMITTED))
            return
        self._notifier.handover(device, transfer, step, body, reply)

    def state(self, transfer: str, offset: int, size: int) -> StateSink:
        """Return the writer for a state; raises DistributedServiceFailed for an unexpected one."""
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
