# SPDX-License-Identifier: Apache-2.0
"""The published list for one peer: derived when there is room to send, so nothing piles up."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from missiond.core.link.message_types import Message, SnapshotsMessage, Subscribe, Update
from missiond.core.sync.versioned_list import VersionedList

MAX_PART = 256 * 1024
"""Bytes of a message with an update."""
_HEAD = 512
_NUMBER = 11
"""Bytes of a mission's id and a comma."""
_SNAPSHOT_BATCHES = 4
"""Snapshots are news for somebody who looks: no more often than so many updates."""


class ListPublisher:
    """The published list for one peer. `gap` is the least time (ms) between two updates."""

    def __init__(self, published: VersionedList, gap: int) -> None:
        self._published = published
        self._updates = _Pace(gap)
        self._news = _Pace(gap * _SNAPSHOT_BATCHES)
        self.subscription: Subscribe | None = None
        self._permitted = False
        self._since: tuple[int, int] | None = None
        """What the peer has when it has read what was sent; None: nothing that is known of."""
        self._looked = 0
        """The seq up to which there is nothing for it; at least that of `_since`."""
        self._answer = False
        """Whether it waits for an update even if that is empty."""
        self._parts: Iterator[Update] = iter(())
        self._next_part: Update | None = None
        self._snapshots: dict[int, None] = {}

    @property
    def snapshots(self) -> bool:
        """Whether the peer is to be told of snapshots."""
        return self._permitted and self.subscription is not None and self.subscription.snapshots

    def subscribe(self, subscription: Subscribe, now: int) -> None:
        """Begin anew for this peer, from the state named in the subscription."""
        self.unsubscribe()
        self.subscription = subscription
        since = (subscription.list_id, subscription.have_seq)
        self._begin(since if subscription.list_id else None, now)

    def resync(self, sub: int, now: int) -> None:
        """Begin anew with the whole list, under another number."""
        if self.subscription is not None:
            self.subscription = dataclasses.replace(self.subscription, sub=sub)
            self._begin(None, now)

    def unsubscribe(self) -> None:
        """Send no more."""
        self.subscription = None
        self._drop_parts()
        self._snapshots = {}
        self._updates.due = self._news.due = None

    def watch(self, *, snapshots: bool) -> None:
        """Tell of snapshots or no longer."""
        if self.subscription is not None:
            self.subscription = dataclasses.replace(self.subscription, snapshots=snapshots)
        if not snapshots:
            self._snapshots = {}
            self._news.due = None

    def permit(self, *, permitted: bool, now: int) -> None:
        """Begin or stop to serve a subscription; one without permission waits."""
        if permitted == self._permitted:
            return
        self._permitted = permitted
        if self.subscription is None:
            return
        if permitted:
            self._begin(self._since, now)
        else:
            if self._next_part is not None:
                self._since = None  # it has some parts of that update, and nobody knows which
            self._drop_parts()

    def changed(self, now: int) -> None:
        """Take note of a changed list."""
        if self.subscription is not None:
            self._updates.want(now)

    def snapshot_changed(self, mission: int, now: int) -> None:
        """Take note of a new snapshot of a mission."""
        if not self.snapshots or self.subscription is None:
            return
        tag = self._published.tag_of(mission)
        if tag is not None and self.subscription.tag in (0, tag):
            self._snapshots[mission] = None
            self._news.want(now)

    def next_deadline(self) -> int | None:
        """Return the time of the next message; None without one."""
        if not self._permitted:
            return None
        return min((due for due in (self._updates.due, self._news.due) if due is not None), default=None)

    def next(self, now: int) -> Message | None:
        """Return the next message, taken as sent; None for nothing."""
        if not self._permitted or self.subscription is None:
            return None
        if self._next_part is None and self._updates.ready(now):
            self._derive(self.subscription, now)
        if self._next_part is not None:
            part, self._next_part = self._next_part, next(self._parts, None)
            return part
        if self._news.ready(now):
            self._news.done(now)
            missions, self._snapshots = tuple(self._snapshots), {}
            return SnapshotsMessage(missions)
        return None

    def _begin(self, since: tuple[int, int] | None, now: int) -> None:
        self._drop_parts()
        self._since = since
        self._looked = 0 if since is None else since[1]
        self._answer = True
        self._updates.due = now

    def _drop_parts(self) -> None:
        self._parts = iter(())
        self._next_part = None

    def _derive(self, subscription: Subscribe, now: int) -> None:
        since = None if self._since is None else (self._since[0], self._looked)
        update = self._published.update(since, subscription.tag)
        self._looked = update.last_seq
        if not (update.full or update.rows or update.removed or self._answer):
            self._updates.due = None
            return
        before = 0 if update.full or self._since is None else self._since[1]
        update = dataclasses.replace(update, sub=subscription.sub, prev_seq=before)
        self._since = (update.list_id, update.last_seq)
        self._answer = False
        self._updates.done(now)
        self._parts = split(update)
        self._next_part = next(self._parts)


def split(update: Update, most: int = MAX_PART) -> Iterator[Update]:
    """Cut an update into parts of at most `most` bytes, all but the last with `more`; a row may be longer."""
    room = most - _HEAD
    at_once = max(1, room // _NUMBER)
    removed, at = update.removed, 0
    while len(removed) - at > at_once:
        yield dataclasses.replace(update, rows=(), removed=removed[at : at + at_once], more=True)
        at += at_once
    rest = removed[at:]
    room -= len(rest) * _NUMBER
    first, used = 0, 0
    for index, row in enumerate(update.rows):
        if used + len(row) + 1 > room and (index > first or rest):
            yield dataclasses.replace(update, rows=update.rows[first:index], removed=rest, more=True)
            first, used, rest, room = index, 0, (), most - _HEAD
        used += len(row) + 1
    yield dataclasses.replace(update, rows=update.rows[first:], removed=rest, more=False)


class _Pace:
    """The first at once, those that follow soon after together."""

    def __init__(self, gap: int) -> None:
        self._gap = gap
        self._last: int | None = None
        self.due: int | None = None

    def want(self, now: int) -> None:
        if self.due is None:
            self.due = now if self._last is None else max(now, self._last + self._gap)

    def ready(self, now: int) -> bool:
        return self.due is not None and self.due <= now

    def done(self, now: int) -> None:
        self._last = now
        self.due = None
