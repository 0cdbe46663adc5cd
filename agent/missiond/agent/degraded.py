# SPDX-License-Identifier: Apache-2.0
"""What is missing on this host, and what that costs."""

from __future__ import annotations

import logging
from collections.abc import Callable

_LOGGER = logging.getLogger(__name__)


class Degraded:
    """One sentence for each missing neighbour; `changed` is called after every change."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._sentences: dict[str, str] = {}
        self.changed = changed

    def __bool__(self) -> bool:
        return bool(self._sentences)

    @property
    def sentences(self) -> list[str]:
        """For people, in a stable order."""
        return [self._sentences[key] for key in sorted(self._sentences)]

    def set(self, neighbour: str, sentence: str | None) -> None:
        """Say what is missing; None once the neighbour is back."""
        if self._sentences.get(neighbour) == sentence:
            return
        if sentence is None:
            del self._sentences[neighbour]
            _LOGGER.info("%s works again", neighbour)
        else:
            self._sentences[neighbour] = sentence
            _LOGGER.warning("degraded: %s", sentence)
        self.changed()
