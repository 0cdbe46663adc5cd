# SPDX-License-Identifier: Apache-2.0
"""The serving half of a session: list and answers for a peer, within the permissions."""

from __future__ import annotations

from missiond.core.link.checks import BadMessage
from missiond.core.link.message_types import (
    Ask,
    LinkRefused,
    Message,
    Resync,
    Subscribe,
    Unsubscribe,
    WatchMission,
)
from missiond.core.sync.events import Reply, SessionEvents
from missiond.core.sync.publisher import ListPublisher
from missiond.core.sync.requests import RequestAnswers
from missiond.core.sync.session_config import Timing
from missiond.core.sync.versioned_list import VersionedList
from missiond.errors import PermissionDenied

UNPERMITTED = "this device may not see the missions here; give it the permission 'sync' here first"
"""The refusal for a peer, in these words in every version."""


class ServerHalf:
    """The serving half of a session; times are ms of the clock."""

    def __init__(self, published: VersionedList, events: SessionEvents, timing: Timing) -> None:
        self._events = events
        self._permitted = False
        self.list = ListPublisher(published, timing.batch)
        self.answers = RequestAnswers(timing.reply)
        self._refusal: LinkRefused | None = None
        self._told_wanted = False

    def permit(self, permitted: bool, now: int) -> None:
        """Give or take the permission `sync`; a subscription without permission waits."""
        self._permitted = permitted
        self.list.permit(permitted=permitted, now=now)
        subscription = self.list.subscription
        if subscription is not None:
            self._refusal = None if permitted else LinkRefused(UNPERMITTED, subscription.sub)
        self._tell_wanted()

    def take(self, message: Message, conflict: str | None, now: int) -> None:
        """Take in a request of the peer; `conflict` is one of versions. Raises BadMessage."""
        match message:
            case Subscribe():
                self._subscribe(message, conflict, now)
            case Unsubscribe():
                self.list.unsubscribe()
                self._refusal = None
            case Resync(sub):
                self.list.resync(sub, now)
            case WatchMission(snapshots):
                self.list.watch(snapshots=snapshots)
            case _:
                raise BadMessage(f"{message.kind} a second time")
        self._tell_wanted()

    def asked(self, ask: Ask, now: int) -> Reply | None:
        """Take a question, and return the callback for the answer, None if refused. Raises BadMessage."""
        reply = self.answers.asked(ask, now)
        if self._permitted:
            return reply
        reply(PermissionDenied(UNPERMITTED))
        return None

    def next(self, now: int) -> Message | None:
        """Return the next message, taken as sent; None for nothing."""
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            return refusal
        return self.answers.next() or self.list.next(now)

    def next_deadline(self, writable: bool) -> int | None:
        """Return the next deadline; messages to send count only while there is room."""
        overdue = self.answers.next_deadline()
        due = self.list.next_deadline() if writable else None
        return min((when for when in (overdue, due) if when is not None), default=None)

    def close(self) -> None:
        """Give nothing more."""
        self.list.unsubscribe()
        self.answers.close()
        self._refusal = None
        self._tell_wanted()

    def _subscribe(self, subscription: Subscribe, conflict: str | None, now: int) -> None:
        self._refusal = None
        if conflict is not None and not subscription.fix_conflict:
            self.list.unsubscribe()
            self._refusal = LinkRefused(conflict, subscription.sub)
            return
        self.list.subscribe(subscription, now)
        if not self._permitted:
            self._refusal = LinkRefused(UNPERMITTED, subscription.sub)

    def _tell_wanted(self) -> None:
        wanted = self.list.snapshots
        if wanted != self._told_wanted:
            self._told_wanted = wanted
            self._events.snapshots_wanted(on=wanted)
