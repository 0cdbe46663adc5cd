# SPDX-License-Identifier: Apache-2.0
"""Whether the peer is still there: silence is asked about, and silence about that ends the link."""

from __future__ import annotations

from enum import Enum, auto

from missiond.core.sync.session_config import Timing


class Silence(Enum):
    """What is to be done about it."""

    NOTHING = auto()
    ASK = auto()
    DEAD = auto()


class SilenceTimer:
    """Times are ms of the clock that is handed in; `next` says when to look again."""

    def __init__(self, timing: Timing, now: int) -> None:
        self._timing = timing
        self._heard = now
        self._dead_at: int | None = None
        """Where the peer was asked for a word and none came yet."""
        self._probe = 0
        """The ping that alone counts as an answer; 0 where any word does."""
        self.ping = 0
        """Number of the latest question."""

    def heard(self, now: int) -> None:
        """Take note of a word from the peer, or of room for one to it."""
        self._heard = now
        if not self._probe:
            self._dead_at = None

    def answered(self, ping: int) -> None:
        """Take note of the answer to a ping."""
        if self._probe and ping >= self._probe:
            self._probe = 0
            self._dead_at = None

    def probe(self, now: int, patience: int) -> None:
        """Ask now, and wait for no longer than `patience`; only the answer itself counts."""
        dead_at = now + patience
        if self._probe and self._dead_at is not None:
            dead_at = min(dead_at, self._dead_at)
        self.ping += 1
        self._probe = self._probe or self.ping
        self._dead_at = dead_at

    def next(self) -> int:
        """When to look again: a moment that links share, except while an answer is waited for."""
        if self._dead_at is not None:
            return self._dead_at
        coarse = self._timing.coarse
        return -(-(self._heard + self._timing.idle) // coarse) * coarse

    def look(self, now: int) -> Silence:
        """Say what is to be done now; ASK means a ping with the number `ping`."""
        due = self.next()
        if now < due:
            return Silence.NOTHING
        if self._dead_at is not None and now - due < self._timing.coarse:
            return Silence.DEAD
        # Not asked yet; or the host slept while it waited, and the answer lies unread.
        self.ping += 1
        self._probe = 0
        self._dead_at = now + self._timing.unheard
        return Silence.ASK
