# SPDX-License-Identifier: Apache-2.0
"""One pairing under way: the talk of two hosts without trust yet, over one channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from missiond.core.pairing.messages import (
    REJECTED,
    TIMEOUT,
    PairingMessage,
    Reject,
    parse,
    serialise,
)
from missiond.core.pairing.pairing import LIMIT, Pairing, PairingFailed
from missiond.core.schema import BadValue
from missiond.core.tasks.locks import printable
from missiond.peers.timers import Timers
from missiond.peers.transport.certificate import device_id
from missiond.peers.transport.channel import Channel

if TYPE_CHECKING:
    from missiond.peers.pairing.pairings import Pairings

NAME_LENGTH = 64


class PairingSession:
    """Owns the channel of a pairing; `pairing` holds the knowledge."""

    def __init__(
        self, channel: Channel, pairing: Pairing, timers: Timers, pairings: Pairings, *, incoming: bool
    ) -> None:
        self.pairing = pairing
        self.incoming = incoming
        self.newly_trusted = False
        """Whether the trust is this pairing's doing, and ends if the other side says no."""
        self.host = channel.host
        self._channel = channel
        self._timers = timers
        self._pairings = pairings
        self._over = False
        timers.after(self, LIMIT, self._late)

    @property
    def device_id(self) -> str:
        """Of the other side."""
        return device_id(self.pairing.peer_certificate)

    @property
    def name(self) -> str:
        """The own name of the other side."""
        return printable(self.pairing.peer_name, NAME_LENGTH).strip()

    def begin(self, message: PairingMessage) -> None:
        """Send the first message as the caller, or take the first message in as the called."""
        if self.incoming:
            self._take(message)
        else:
            self._send(message)
        self._channel.attach(self)

    def confirm(self) -> None:
        """Say yes for people here; raises PairingFailed without a code."""
        self._send(self.pairing.confirm())
        self._check_done()

    def end(self, reason: str, text: str) -> None:
        """Say no to the other side and hang up."""
        self._send(Reject(reason))
        self._finish(PairingFailed(text, reason))

    def _late(self) -> None:
        self.end(TIMEOUT, "nobody confirmed it in time")

    def _check_done(self) -> None:
        if self.pairing.done:
            self._finish(None)

    def _send(self, message: PairingMessage) -> None:
        self._channel.send(serialise(message))

    def _take(self, message: PairingMessage) -> None:
        coded = bool(self.pairing.code)
        answer = self.pairing.received(message)
        if answer is not None:
            self._send(answer)
        if self.pairing.code and not coded:
            self._pairings.coded(self)
        self._check_done()

    def _finish(self, failure: PairingFailed | None) -> None:
        if self._over:
            return
        self._over = True
        self._timers.drop(self)
        if failure is not None and failure.broken:
            self._channel.cut_off(str(failure))
        else:
            self._channel.close()
        self._pairings.over(self, failure)

    # --- from the channel

    def message(self, data: bytes) -> None:
        """Take in a message of the other side."""
        if self._over:
            return
        try:
            self._take(parse(data))
        except BadValue as error:
            self._finish(PairingFailed(f"it said what has no place here: {error}", REJECTED, broken=True))
        except PairingFailed as error:
            self._finish(error)

    def writable(self, *, now: bool) -> None:
        """Do nothing: a few short messages always find room."""

    def lost(self, reason: str, *, broken: bool) -> None:
        """End the pairing after the channel."""
        self._finish(PairingFailed(f"the connection was lost: {reason}", broken=broken))
