# SPDX-License-Identifier: Apache-2.0
"""Client of the helper, with a sentence in Degraded while the helper is missing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from missiond.common.backoff import Backoff
from missiond.degraded import Degraded
from missiond.helper.requests import Request
from missiond.host.helper import HelperMissing
from missiond.host.inotify import Reappearing

_LOGGER = logging.getLogger(__name__)
_NEIGHBOUR = "helper"

FIRST_PAUSE = 30.0
LONGEST_PAUSE = 600.0
"""Seconds until a silent helper is asked again at most; the pauses double."""


class Privileged(Protocol):
    """The helper."""

    path: Path
    stay: bool
    stirred: Callable[[], None]
    """Called when a silent helper answers again, or was started again."""

    async def ask(self, requests: Sequence[Request]) -> list[str]:
        """Return for each request "" where done, else the reason why not; raises HelperMissing."""
        ...

    async def prepare(self) -> None:
        """Start the helper; raises HelperMissing."""
        ...

    def rest(self) -> None:
        """Close the connection unless `stay` is set."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


@dataclass(frozen=True, slots=True)
class HelperAnswers:
    """Results of requests: `known` of the first ones, then perhaps one unknown.

    Those after these were never asked.
    """

    known: list[str]
    unsure: int = 0
    complete: bool = True


class HelperClient:
    """Client of the helper; `back` is called when the helper may be there or answer again.

    Nothing is watched while nobody needs it (`relax`); then nothing is said about it either.
    """

    def __init__(self, helper: Privileged, degraded: Degraded, back: Callable[[], None]) -> None:
        self._helper = helper
        helper.stirred = self._stirred
        self._degraded = degraded
        self._back = back
        self._missing = False
        self._watch: Reappearing | None = None
        self._retries = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._events = 0
        self._hangs = False
        """Whether the last question was not answered: then it is not enough that somebody is there."""

    async def ready(self) -> bool:
        """Whether the helper can be asked; a missing one is noted in Degraded, and `back` follows."""
        if self._missing:
            return False
        events = self._events
        try:
            await self._helper.prepare()
        except HelperMissing as error:
            self._lost(error, events)
            return False
        if not self._hangs:
            self._found()
        return True

    async def ask(self, requests: Sequence[Request]) -> HelperAnswers:
        """Ask one after the other."""
        events = self._events
        try:
            known = await self._helper.ask(requests)
        except HelperMissing as error:
            self._lost(error, events)
            return HelperAnswers(error.answers, int(error.sent), complete=False)
        self._found()
        return HelperAnswers(known)

    def stay(self, *, wanted: bool) -> None:
        """Keep the helper running, or no longer: a start takes longer than some callers can wait."""
        self._helper.stay = wanted
        self._helper.rest()

    def rest(self) -> None:
        """All is asked for now."""
        self._helper.rest()

    def relax(self) -> None:
        """Let the helper end when idle."""
        self._forget()
        self._degraded.drop(_NEIGHBOUR)

    def close(self) -> None:
        """Close the connection."""
        self._unwatch()
        self._helper.close()

    def _lost(self, error: HelperMissing, events: int) -> None:
        """Say so, and wait for it; `events` is how many there were when it was still looked for."""
        sentence = f"no missiond-helper ({error}): processes of continuous tasks are not protected"
        self._degraded.set(_NEIGHBOUR, sentence)
        self._missing, self._hangs = True, error.hangs
        if not error.hangs and self._watch is None:
            try:
                self._watch = Reappearing(self._helper.path, self._event)
            except OSError as problem:
                _LOGGER.warning("can't watch %s: %s", self._helper.path, problem)
            else:
                self._events += 1  # it may have come back just before it was watched
        if self._events != events:
            asyncio.get_running_loop().call_soon(self._again)
        if error.hangs or self._watch is None:
            self._retries.later(self._again)

    def _found(self) -> None:
        self._retries.reset()
        self._forget()
        self._degraded.set(_NEIGHBOUR, None)

    def _forget(self) -> None:
        self._missing = self._hangs = False
        self._unwatch()

    def _event(self) -> None:
        self._events += 1
        self._again()

    def _stirred(self) -> None:
        """Ask again, since a stopped helper goes on or another one was started."""
        self._hangs = False
        self._again()

    def _again(self) -> None:
        if self._missing:
            self._missing = False
            self._back()

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        self._retries.cancel()
