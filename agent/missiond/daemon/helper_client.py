# SPDX-License-Identifier: Apache-2.0
"""The helper, as far as it is there: what is missing is said, and missed no longer once it is back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from missiond.degraded import Degraded
from missiond.helper.requests import Request
from missiond.host.helper import HelperMissing
from missiond.host.inotify import Reappearing

_LOGGER = logging.getLogger(__name__)
_NEIGHBOUR = "helper"

FIRST_PAUSE = 30.0
LONGEST_PAUSE = 600.0
"""Seconds after which a helper is tried again that is there but does not answer; twice as long each time."""


class Privileged(Protocol):
    """The helper."""

    path: Path
    stay: bool
    stirred: Callable[[], None]
    """Called once it goes on after it did not answer, or was started again."""

    async def ask(self, requests: Sequence[Request]) -> list[str]:
        """For each "" where it was done, else why not; raises HelperMissing."""
        ...

    async def prepare(self) -> None:
        """Have it run; raises HelperMissing."""
        ...

    def rest(self) -> None:
        """Leave it unless it is to stay."""
        ...

    def close(self) -> None:
        """Leave it."""
        ...


@dataclass(frozen=True, slots=True)
class HelperAnswers:
    """What became of requests: `known` of the first ones, then perhaps one of which nobody knows.

    Those after these were never asked.
    """

    known: list[str]
    unsure: int = 0
    complete: bool = True


class HelperClient:
    """Asks the helper. `back` is called when it may be there again, or may answer again.

    Nothing is watched while nobody needs it (`relax`); then nothing is said about it either.
    """

    def __init__(self, helper: Privileged, degraded: Degraded, back: Callable[[], None]) -> None:
        self._helper = helper
        helper.stirred = self._stirred
        self._degraded = degraded
        self._back = back
        self._missing = False
        self._watch: Reappearing | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pause = FIRST_PAUSE
        self._events = 0
        self._hangs = False
        """Whether the last question was not answered: then it is not enough that somebody is there."""

    async def ready(self) -> bool:
        """Whether it can be asked; where it is missing, that is said, and `back` follows."""
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
        """Keep the helper running, or no longer: starting it takes longer than some things can wait."""
        self._helper.stay = wanted
        self._helper.rest()

    def rest(self) -> None:
        """All is asked for now."""
        self._helper.rest()

    def relax(self) -> None:
        """Nobody needs it now."""
        self._forget()
        self._degraded.drop(_NEIGHBOUR)

    def close(self) -> None:
        """Leave it."""
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
        if (error.hangs or self._watch is None) and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._pause, self._pause_over)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _found(self) -> None:
        self._pause = FIRST_PAUSE
        self._forget()
        self._degraded.set(_NEIGHBOUR, None)

    def _forget(self) -> None:
        self._missing = self._hangs = False
        self._unwatch()

    def _event(self) -> None:
        self._events += 1
        self._again()

    def _stirred(self) -> None:
        """It goes on, or is another one: there may be nothing left to ask by which that would be seen."""
        self._hangs = False
        self._again()

    def _pause_over(self) -> None:
        self._timer = None
        self._again()

    def _again(self) -> None:
        if self._missing:
            self._missing = False
            self._back()

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
