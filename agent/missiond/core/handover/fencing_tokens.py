# SPDX-License-Identifier: Apache-2.0
"""The highest fence known of each mission that was ever handed over."""

from __future__ import annotations

from collections.abc import Mapping

MOST = 2**53
"""No honest host gets there; what a peer says beyond it is not believed."""


class Fences:
    """Identity to fence; only ever rises."""

    def __init__(self, saved: Mapping[str, int] | None = None) -> None:
        self._known = dict(saved or {})

    def __getitem__(self, identity: str) -> int:
        """0 for an identity that was never seen."""
        return self._known.get(identity, 0)

    def learn(self, identity: str, fence: int) -> None:
        """Take note of a fence that was used."""
        if identity and self[identity] < fence <= MOST:
            self._known[identity] = fence
