# SPDX-License-Identifier: Apache-2.0
"""Clients that showed no certificate: one short message within two seconds, or they are cut off."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from missiond.core.pairing_messages import BadPairingMessage, Introduce, Pair, parse
from missiond.peers.address import group
from missiond.peers.channel import Channel
from missiond.peers.complaints import Complaints
from missiond.peers.frames import STRANGER_LIMIT

if TYPE_CHECKING:
    from missiond.peers.timers import Timers

MOST = 16
MOST_OF_ONE = 4
"""Connections of one address, or of one IPv6 network of 64 bits."""
PATIENCE = 2000


class Strangers:
    """All of them. `pair` takes over the channel of one that wants to pair."""

    def __init__(
        self,
        timers: Timers,
        complaints: Complaints,
        pair: Callable[[Channel, Pair], None],
        introduce: Callable[[bytes], None],
    ) -> None:
        self._timers = timers
        self._complaints = complaints
        self._pair = pair
        self._introduce = introduce
        self._open: dict[_Stranger, str] = {}

    def __len__(self) -> int:
        return len(self._open)

    def take(self, channel: Channel) -> None:
        """Listen to one; where there are too many, one that was there has to go, whichever."""
        origin = group(channel.host)
        same = [stranger for stranger, of in self._open.items() if of == origin]
        if len(same) >= MOST_OF_ONE:
            self._evict(same, f"strangers at {origin}")
        elif len(self._open) >= MOST:
            self._evict(list(self._open), "strangers")
        channel.limit(STRANGER_LIMIT)
        stranger = _Stranger(channel, self)
        self._open[stranger] = origin
        self._timers.after(stranger, PATIENCE, lambda: self.cut_off(stranger, "said nothing"))
        channel.attach(stranger)

    def close(self) -> None:
        """End all."""
        for stranger in list(self._open):
            stranger.channel.cut_off("shutting down")

    def said(self, stranger: _Stranger, data: bytes) -> None:
        """Take in the one message of a stranger."""
        try:
            message = parse(data)
        except BadPairingMessage as error:
            self.cut_off(stranger, f"said what no stranger may say: {error}")
            return
        if isinstance(message, Pair):
            self.left(stranger)
            self._pair(stranger.channel, message)
        elif isinstance(message, Introduce):
            self._introduce(message.certificate)
            stranger.channel.close()
        else:
            self.cut_off(stranger, f"began with {message.kind}")

    def cut_off(self, stranger: _Stranger, reason: str) -> None:
        """End one that does not behave."""
        self._complaints.report(f"a stranger at {stranger.channel.host}", reason)
        self.left(stranger)
        stranger.channel.cut_off(reason)

    def left(self, stranger: _Stranger) -> None:
        """Forget one."""
        self._open.pop(stranger, None)
        self._timers.drop(stranger)

    def _evict(self, among: list[_Stranger], who: str) -> None:
        """At random: then a flood can't make sure that an honest one is always the next to go."""
        self._complaints.report(who, "too many connections at a time")
        stranger = random.choice(among)  # noqa: S311
        self.left(stranger)
        stranger.channel.cut_off("too many")


class _Stranger:
    def __init__(self, channel: Channel, strangers: Strangers) -> None:
        self.channel = channel
        self._strangers = strangers
        self._heard = False

    def message(self, data: bytes) -> None:
        if self._heard:
            self._strangers.cut_off(self, "said more than one thing")
            return
        self._heard = True
        self._strangers.said(self, data)

    def writable(self, *, now: bool) -> None:
        pass

    def lost(self, reason: str, *, broken: bool) -> None:
        if broken:
            self._strangers.cut_off(self, reason)
        self._strangers.left(self)
