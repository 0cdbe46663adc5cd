# SPDX-License-Identifier: Apache-2.0
"""Says things again soon where a link is up and the agent behind it was not there, or not ready."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

PAUSE = 1.0
"""Seconds until it is tried again."""
MOST = 15
"""Times for one transfer; after that its own times decide."""


class Retry:
    """`again` is called for a peer whose link is up."""

    def __init__(self, again: Callable[[str], None]) -> None:
        self._again = again
        self._linked: set[str] = set()
        self._soon: dict[str, asyncio.TimerHandle] = {}
        self._counts: Counter[str] = Counter()

    def link(self, peer: str, *, up: bool) -> None:
        """There is a link to a peer, or none."""
        (self._linked.add if up else self._linked.discard)(peer)
        if up:
            self._counts.clear()  # those of others may begin anew as well: they are few

    def lost(self, peer: str, transfer: str) -> None:
        """Have it said again what belongs to a transfer of which something has not arrived."""
        self._counts[transfer] += 1
        if self._counts[transfer] <= MOST and peer not in self._soon:
            self._soon[peer] = asyncio.get_running_loop().call_later(PAUSE, self._ring, peer)

    def forget(self, transfer: str) -> None:
        """It is over."""
        self._counts.pop(transfer, None)

    def close(self) -> None:
        """Say nothing again."""
        for handle in self._soon.values():
            handle.cancel()
        self._soon.clear()

    def _ring(self, peer: str) -> None:
        del self._soon[peer]
        if peer in self._linked:
            self._again(peer)
