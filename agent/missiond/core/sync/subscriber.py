# SPDX-License-Identifier: Apache-2.0
"""The subscription to a peer's list, and the peer's knowledge of the subscription."""

from __future__ import annotations

from collections import deque

from missiond.core.link.checks import BadMessage
from missiond.core.link.message_types import Message, Resync, Subscribe, Unsubscribe, Update, WatchMission
from missiond.core.sync.replica import Gap, Replica

_GAPS = 5
_GAPS_WITHIN = 60_000
"""ms; a peer whose updates fail to follow from each other more often than that is not worth the traffic."""


class ListSubscriber:
    """Keeps the view of one peer's list in step over one link, while wanted."""

    def __init__(self, view: Replica) -> None:
        self.view = view
        self._wanted: tuple[int, bool] | None = None
        """tag and fix_conflict."""
        self._told = False
        """Whether the peer knows the wish, by the number `_sub`."""
        self._subscribed = False
        """Whether the peer serves this or an earlier wish."""
        self._sub = 0
        self._resync = False
        self._snapshots = False
        self._watched = False
        """What the peer knows of `_snapshots`."""
        self._refused = 0
        """The last subscription that the peer refused."""
        self._gaps: deque[int] = deque(maxlen=_GAPS)

    @property
    def wanted(self) -> tuple[int, bool] | None:
        """The wanted tag and fix_conflict, None for nothing."""
        return self._wanted

    def sync(self, tag: int, fix_conflict: bool) -> None:
        """Keep the list in step; the same wish again makes the peer look again after a refusal."""
        if (tag, fix_conflict) == self._wanted and not self.view.refused:
            return
        if self.view.tag != tag:
            self.view.clear(tag)
        self._wanted = (tag, fix_conflict)
        self._told = False

    def stop(self) -> None:
        """Drop the wish, and empty the view."""
        self._wanted = None
        self._told = self._resync = False
        self.view.clear()

    def want_snapshots(self, on: bool) -> None:
        """Begin or stop to follow snapshots."""
        self._snapshots = on

    def refused(self, sub: int) -> bool:
        """Take note of a refusal; return false for one known, or of an earlier wish."""
        if not self._told or sub != self._sub or (self.view.refused and sub == self._refused):
            return False
        self.view.abandon()
        self.view.refused = True
        self._refused = sub
        return True

    def next(self) -> Message | None:
        """Return the next message for the peer, taken as sent; None for nothing."""
        if self._wanted is None:
            if self._subscribed:
                self._subscribed = False
                return Unsubscribe()
            return None
        if not self._told:
            return self._subscribe(*self._wanted)
        if self._resync:
            self._resync = False
            self._sub += 1
            return Resync(self._sub)
        if self._watched != self._snapshots:
            self._watched = self._snapshots
            return WatchMission(self._snapshots)
        return None

    def received(self, update: Update, now: int) -> bool:
        """Take in an update, and say whether the view shows something else now.

        One that is under way for an earlier wish is passed over. Raises BadMessage.
        """
        if not self._told or self._resync or update.sub != self._sub:
            return False
        applied = self.view.apply(update)
        if not isinstance(applied, Gap):
            return applied.changed
        self._resync = True
        if len(self._gaps) == _GAPS and now - self._gaps[0] < _GAPS_WITHIN:
            raise BadMessage(f"updates that don't follow from each other ({applied.reason})")
        self._gaps.append(now)
        return False

    def _subscribe(self, tag: int, fix_conflict: bool) -> Subscribe:
        self._told = self._subscribed = True
        self._watched = self._snapshots
        self._resync = False
        self._sub += 1
        view = self.view
        view.abandon()
        have = (view.list_id, view.seq) if view.complete else (0, 0)
        return Subscribe(self._sub, tag, fix_conflict, *have, snapshots=self._snapshots)
