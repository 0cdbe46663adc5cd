# SPDX-License-Identifier: Apache-2.0
"""The handle of something that can be undone."""

from __future__ import annotations

from collections.abc import Callable


class Subscription:
    """Ends what was begun when it is closed; closing twice is harmless."""

    __slots__ = ("_undo",)

    def __init__(self, undo: Callable[[], None]) -> None:
        self._undo: Callable[[], None] | None = undo

    def close(self) -> None:
        """End it."""
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._undo is None
