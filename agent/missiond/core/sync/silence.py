# SPDX-License-Identifier: Apache-2.0
"""The presence of a peer: silence leads to a ping, and silence after a ping ends the link."""

from __future__ import annotations

from enum import Enum, auto

from missiond.core.sync.session_config import Timing


class Silence(Enum):
    """The verdict on a silence."""

    NOTHING = auto()
    ASK = auto()
    DEAD = auto()


class SilenceTimer:
    """Watches for silence; times are ms of the caller's clock, and `next` is the time to look again."""

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
        """Take note of a word from the peer, or of room for one to the peer."""
        self._heard = now
        if not self._probe:
            self._dead_at = None

    def answered(self, ping: int) -> None:
        """Take note of the answer to a ping."""
        if self._probe and ping >= self._probe:
            self._probe = 0
            self._dead_at = None

    def probe(self, now: int, patience: int) -> None:
        """Ask now, and wait for at most `patience` ms; only the answer counts."""
        dead_at = now + patience
        if self._probe and self._dead_at is not None:
            dead_at = min(dead_at, self._dead_at)
        self.ping += 1
        self._probe = self._probe or self.ping
        self._dead_at = dead_at

    def next(self) -> int:
        """Return the time to look again: shared by links, except while an answer is due."""
        if self._dead_at is not None:
            return self._dead_at
        coarse = self._timing.coarse
        return -(-(self._heard + self._timing.idle) // coarse) * coarse

    def look(self, now: int) -> Silence:
        """Judge the silence now; ASK means a ping with the number `ping`."""
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
