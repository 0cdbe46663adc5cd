# SPDX-License-Identifier: Apache-2.0
"""Handles of things to be undone."""

from __future__ import annotations

from collections.abc import Callable


class Subscription:
    """Handle of something begun, to end by `close`; closing twice is harmless."""

    __slots__ = ("_undo",)

    def __init__(self, undo: Callable[[], None]) -> None:
        self._undo: Callable[[], None] | None = undo

    def close(self) -> None:
        """End the subscription."""
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()

    @property
    def closed(self) -> bool:
        """Whether the subscription has ended."""
        return self._undo is None
