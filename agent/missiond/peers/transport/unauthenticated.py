# SPDX-License-Identifier: Apache-2.0
"""Clients without a certificate: one short message within two seconds, or the connection is cut off.

One that wants to pair then has two more to prove that it has the key of the certificate that it names.
Nothing that it says counts before that.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from missiond.core.pairing.messages import (
    OLD,
    Challenge,
    Introduce,
    Pair,
    Proof,
    Reject,
    parse,
    serialise,
)
from missiond.core.schema import BadValue
from missiond.peers.log_limiter import PeerLogLimiter
from missiond.peers.pairing.proof import Doubt, NotProved
from missiond.peers.transport.address import group
from missiond.peers.transport.certificate import BadCertificate
from missiond.peers.transport.channel import ENDING, Channel
from missiond.peers.transport.frames import STRANGER_LIMIT
from missiond.peers.transport.identity import Identity

if TYPE_CHECKING:
    from missiond.peers.timers import Timers

MOST = 16
MOST_OF_ONE = 4
"""Connections of one address, or of one IPv6 network of 64 bits."""
PATIENCE = 2000


class UnauthenticatedClients:
    """Clients without a certificate; `pair` takes over the channel of a proved one."""

    def __init__(
        self,
        identity: Identity,
        timers: Timers,
        complaints: PeerLogLimiter,
        pair: Callable[[Channel, Pair], None],
        introduce: Callable[[bytes], None],
    ) -> None:
        self._identity = identity
        self._timers = timers
        self._complaints = complaints
        self._pair = pair
        self._introduce = introduce
        self._open: dict[_Stranger, str] = {}

    def __len__(self) -> int:
        return len(self._open)

    def take(self, channel: Channel) -> None:
        """Take in a client; one of too many has to go, by chance."""
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
        """End all connections."""
        for stranger in list(self._open):
            stranger.channel.cut_off(ENDING)

    def said(self, stranger: _Stranger, data: bytes) -> None:
        """Take in a message of a stranger."""
        try:
            message = parse(data)
        except BadValue as error:
            self.cut_off(stranger, f"said what no stranger may say: {error}")
            return
        if isinstance(message, Proof) and stranger.doubt is not None:
            self._settle(stranger, message)
        elif stranger.heard:
            self.cut_off(stranger, "said more than one thing")
        elif isinstance(message, Pair):
            self._doubt(stranger, message)
        elif isinstance(message, Introduce):
            self._introduce(message.certificate)
            stranger.channel.close()
        else:
            self.cut_off(stranger, f"began with {message.kind}")

    def _doubt(self, stranger: _Stranger, message: Pair) -> None:
        """Have it prove who it is."""
        if not message.hello:
            channel = stranger.channel
            self._complaints.report(
                f"a stranger at {channel.host}",
                "wants to pair and can't prove who it is: its missiond is of an earlier version; upgrade it",
            )
            channel.send(serialise(Reject(OLD)))
            channel.close()
            return
        try:
            stranger.doubt = Doubt(self._identity, message.certificate, message.hello)
        except (BadCertificate, NotProved) as error:
            self.cut_off(stranger, f"wants to pair: {error}")
            return
        stranger.wants = message
        stranger.channel.send(serialise(Challenge(stranger.doubt.flight)))
        self._timers.after(stranger, PATIENCE, lambda: self.cut_off(stranger, "proved nothing in time"))

    def _settle(self, stranger: _Stranger, message: Proof) -> None:
        assert stranger.doubt is not None
        assert stranger.wants is not None
        try:
            stranger.doubt.settle(message.flight)
        except NotProved as error:
            self.cut_off(stranger, f"wants to pair: {error}")
            return
        self.left(stranger)
        self._pair(stranger.channel, stranger.wants)

    def cut_off(self, stranger: _Stranger, reason: str) -> None:
        """End the connection of a misbehaving client."""
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
    def __init__(self, channel: Channel, strangers: UnauthenticatedClients) -> None:
        self.channel = channel
        self._strangers = strangers
        self.heard = False
        """Whether it has said its one thing."""
        self.doubt: Doubt | None = None
        self.wants: Pair | None = None
        """What counts once it has proved who it is."""

    def message(self, data: bytes) -> None:
        self._strangers.said(self, data)
        self.heard = True

    def writable(self, *, now: bool) -> None:
        pass

    def lost(self, reason: str, *, broken: bool) -> None:
        if broken:
            self._strangers.cut_off(self, reason)
        self._strangers.left(self)
