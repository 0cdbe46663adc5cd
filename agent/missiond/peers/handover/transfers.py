# SPDX-License-Identifier: Apache-2.0
"""The transfers that the agent has named, by device and id, and the states that it expects."""

from __future__ import annotations

from collections.abc import Iterator

from missiond.errors import AgentError, TransactionFailed
from missiond.peers.handover.state_writer import StateWriter

MOST_TRANSFERS = 4096
MOST_EXPECTED = 64

Key = tuple[str, str]
"""Id of the device, id of the transfer."""


class Transfers:
    """Bounded: the agent is refused what is beyond, with TransactionFailed."""

    def __init__(self) -> None:
        self._known: set[Key] = set()
        self._expected: dict[Key, StateWriter] = {}

    def __iter__(self) -> Iterator[Key]:
        return iter(list(self._known))

    def knows(self, device_id: str, transfer: str) -> bool:
        """Whether the agent has named it."""
        return (device_id, transfer) in self._known

    def learn(self, device_id: str, transfer: str) -> None:
        """Let it be known."""
        if (device_id, transfer) not in self._known and len(self._known) >= MOST_TRANSFERS:
            raise TransactionFailed(f"{MOST_TRANSFERS} transfers are known; forget those that are over")
        self._known.add((device_id, transfer))

    def expected(self, device_id: str, transfer: str) -> StateWriter | None:
        """Where its state goes; None where none is expected."""
        return self._expected.get((device_id, transfer))

    def room(self) -> None:
        """Raise TransactionFailed where nothing more can be expected."""
        if len(self._expected) >= MOST_EXPECTED:
            raise TransactionFailed(f"{MOST_EXPECTED} states are expected; forget those that are over")

    def expect(self, device_id: str, transfer: str, writer: StateWriter) -> None:
        """Let its state come."""
        self._expected[device_id, transfer] = writer

    def take(self, device_id: str, transfer: str) -> StateWriter | None:
        """Expect it no longer, and return where it went."""
        return self._expected.pop((device_id, transfer), None)

    def forget(self, key: Key, error: AgentError) -> None:
        """Let it be unknown; its state is not taken any more."""
        self._known.discard(key)
        writer = self._expected.pop(key, None)
        if writer is not None:
            writer.close(error)
