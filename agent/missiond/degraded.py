# SPDX-License-Identifier: Apache-2.0
"""Neighbours missing on this host, and the cost, in sentences for people."""

from __future__ import annotations

import logging
from collections.abc import Callable

_LOGGER = logging.getLogger(__name__)

MOST = 8
"""So many sentences about one neighbour are remembered as logged."""


class Degraded:
    """One sentence for each missing neighbour.

    The log has each sentence once until its neighbour works again, however often it is dropped
    and set meanwhile.
    """

    def __init__(self) -> None:
        self._sentences: dict[str, str] = {}
        self._logged: dict[str, list[str]] = {}
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call back after every change."""
        self._listeners.append(callback)

    def __bool__(self) -> bool:
        return bool(self._sentences)

    @property
    def sentences(self) -> list[str]:
        """For people, in a stable order."""
        return [self._sentences[key] for key in sorted(self._sentences)]

    def set(self, neighbour: str, sentence: str | None, *, quiet: bool = False) -> None:
        """Set the sentence on a neighbour; None once back. A `quiet` change is not logged."""
        if sentence is None:
            self._works(neighbour, quiet=quiet)
        elif self._sentences.get(neighbour) != sentence:
            self._sentences[neighbour] = sentence
            if not quiet:
                self._log(neighbour, sentence)
            self._tell()

    def drop(self, what: str) -> None:
        """Drop a sentence nobody needs now."""
        if self._sentences.pop(what, None) is not None:
            self._tell()

    def _works(self, neighbour: str, *, quiet: bool) -> None:
        logged = self._logged.pop(neighbour, None)
        said = self._sentences.pop(neighbour, None)
        if not quiet and (logged or said):
            _LOGGER.info("%s works again", neighbour)
        if said is not None:
            self._tell()

    def _log(self, neighbour: str, sentence: str) -> None:
        logged = self._logged.setdefault(neighbour, [])
        if sentence not in logged:
            _LOGGER.warning("degraded: %s", sentence)
            logged.append(sentence)
            del logged[:-MOST]

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
