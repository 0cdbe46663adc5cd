# SPDX-License-Identifier: Apache-2.0
"""Pairings under way: one begun by another host at a time, with limits for strangers."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from missiond import audit
from missiond.core.pairing.messages import BUSY, CROSSED, NONCE, REJECTED, Pair, Reject, serialise
from missiond.core.pairing.pairing import PairingFailed, PairingInitiator, PairingResponder, Turn
from missiond.core.tasks.locks import printable
from missiond.errors import DistributedServiceFailed, InvalidParameter
from missiond.peers.log_limiter import PeerLogLimiter
from missiond.peers.pairing.proof import NotProved, Prover
from missiond.peers.pairing.session import NAME_LENGTH, PairingSession
from missiond.peers.timers import Timers
from missiond.peers.transport import certificate as certificates
from missiond.peers.transport.address import Address, group
from missiond.peers.transport.channel import ENDING, Channel, Channels
from missiond.peers.transport.connect import NotReached, connect
from missiond.peers.transport.frames import STRANGER_LIMIT
from missiond.peers.transport.identity import Identity
from missiond.peers.transport.tls import Contexts

if TYPE_CHECKING:
    from missiond.peers.unit import PeerUnit

_CODE_SECONDS = 20.0
_BURST, _REFILL = 3, 60_000
"""Requests of one address that people are asked about: three, then one a minute."""
_BURST_OF_ALL, _REFILL_OF_ALL = 12, 20_000
_ORIGINS = 256
_REASON = 200


class Pairings:
    """Pairings under way by device id."""

    def __init__(
        self,
        identity: Identity,
        contexts: Contexts,
        channels: Channels,
        timers: Timers,
        complaints: PeerLogLimiter,
        unit: PeerUnit,
    ) -> None:
        self._identity = identity
        self._contexts = contexts
        self._channels = channels
        self._timers = timers
        self._complaints = complaints
        self._unit = unit
        self._sessions: dict[str, PairingSession] = {}
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self._turn = Turn()
        self._allowance = _Allowance(timers)

    async def request(self, device_id: str, addresses: Sequence[Address]) -> str:
        """Begin a pairing and return the code; raises DistributedServiceFailed."""
        session = self._sessions.get(device_id)
        if session is not None and session.pairing.code:
            return session.pairing.code
        if device_id in self._waiting:
            raise DistributedServiceFailed("a pairing with this device has begun; wait for its code")
        waiting: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting[device_id] = waiting
        try:
            async with asyncio.timeout(_CODE_SECONDS):
                if session is None:
                    await self._call(device_id, addresses)
                return await waiting
        except NotReached as error:
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                return waiting.result()
            raise DistributedServiceFailed(f"this device can't be reached: {error}") from None
        except TimeoutError:
            self.drop(device_id)
            raise DistributedServiceFailed("this device does not answer; try again later") from None
        finally:
            self._waiting.pop(device_id, None)
            if waiting.done() and not waiting.cancelled():
                waiting.exception()

    async def _call(self, device_id: str, addresses: Sequence[Address]) -> None:
        channel = await connect(device_id, addresses, self._contexts.stranger, self._channels, STRANGER_LIMIT)
        assert channel.certificate is not None
        if device_id in self._sessions:  # it was faster
            channel.close()
            return
        prover = Prover(self._identity, channel.certificate)

        def prove(flight: bytes) -> bytes:
            try:
                return prover.answer(flight)
            except NotProved as error:
                raise PairingFailed(str(error), REJECTED, broken=True) from None

        caller = PairingInitiator(
            self._identity.certificate,
            self._unit.name,
            os.urandom(NONCE),
            channel.certificate,
            prover.hello,
            prove,
        )
        session = PairingSession(channel, caller, self._timers, self, incoming=False)
        self._sessions[device_id] = session
        self._unit.pairing_began(device_id, "")
        session.begin(caller.start())

    def called(self, channel: Channel, message: Pair) -> None:
        """Answer a pairing request of a device with a proved identity."""
        device_id = certificates.device_id(message.certificate)
        refusal = self._refusal(device_id, group(channel.host))
        if refusal:
            who = f"a stranger at {channel.host}"
            self._complaints.report(who, f"wants to pair, which is refused: {refusal}")
            channel.send(serialise(Reject(refusal)))
            channel.close()
            return
        crossed = self._sessions.pop(device_id, None)
        if crossed is not None:
            crossed.end(CROSSED, "the other side has begun one itself")
        called = PairingResponder(self._identity.certificate, self._unit.name, os.urandom(NONCE))
        session = PairingSession(channel, called, self._timers, self, incoming=True)
        self._sessions[device_id] = session
        self._turn.give(self._timers.clock.now())
        self._unit.pairing_began(device_id, printable(message.name, NAME_LENGTH).strip())
        session.begin(message)

    def _refusal(self, device_id: str, origin: str) -> str:
        """Why this request is not answered; empty where it is."""
        own = self._identity.device_id
        if device_id == own:
            return REJECTED
        if self._turn.taken(self._timers.clock.now()):
            return BUSY
        known = self._sessions.get(device_id)
        if known is not None and (known.incoming or known.pairing.code):
            return BUSY
        if known is not None or device_id in self._waiting:
            # both have asked: the pairing goes on that the lower device id began
            return CROSSED if own < device_id else ""
        return "" if self._allowance.take(origin) else BUSY

    def confirm(self, device_id: str, accept: bool) -> None:
        """Answer for people: whether the codes are the same; raises InvalidParameter without a pairing."""
        session = self._sessions.get(device_id)
        if session is None or not session.pairing.code:
            raise InvalidParameter("there is no pairing with this device under way; request one first")
        if session.incoming:
            self._turn.answered()
        if not accept:
            session.end(REJECTED, "people here said that the codes differ")
            return
        if not session.pairing.here:
            certificate = session.pairing.peer_certificate
            session.newly_trusted = self._unit.pairing_confirmed(device_id, session.name, certificate)
            session.confirm()

    def drop(self, device_id: str) -> None:
        """End the pairing with a device, if there is one."""
        session = self._sessions.get(device_id)
        if session is not None:
            session.end(REJECTED, "unpaired")

    def close(self) -> None:
        """End all pairings."""
        for session in list(self._sessions.values()):
            session.end(BUSY, ENDING)

    # --- from sessions

    def coded(self, session: PairingSession) -> None:
        """Tell of a code for people to compare."""
        waiting = self._waiting.get(session.device_id)
        if waiting is not None:
            if not waiting.done():
                waiting.set_result(session.pairing.code)
        else:
            self._unit.pairing_requested(session.device_id, session.name, session.pairing.code)

    def over(self, session: PairingSession, failure: PairingFailed | None) -> None:
        """Forget a pairing after the end."""
        device_id = session.device_id
        if failure is not None:
            self._note(session, failure)
        if self._sessions.get(device_id) is not session:
            return  # another has taken its place
        del self._sessions[device_id]
        refused = failure is not None and failure.reason
        if refused and session.newly_trusted:
            self._unit.pairing_revoked(device_id)
        waiting = self._waiting.get(device_id)
        if failure is not None and failure.reason != CROSSED and waiting is not None and not waiting.done():
            waiting.set_exception(DistributedServiceFailed(str(failure)))
        self._unit.pairing_over(device_id)

    def _note(self, session: PairingSession, failure: PairingFailed) -> None:
        """Let people find out about each that failed: nobody may try codes unseen."""
        if failure.broken:
            self._complaints.report(f"pairing with {session.host}", str(failure))
        if failure.reason == CROSSED:
            return
        why = printable(str(failure), _REASON)
        if session.incoming and not session.pairing.code:
            why += "; it knew the code by then, and people here never saw it"
        audit.pairing_failed(session.device_id, session.name, f"{session.host}: {why}")


class _Allowance:
    """How often people may be asked on behalf of one origin, and of all: a bucket each that refills."""

    def __init__(self, timers: Timers) -> None:
        self._clock = timers.clock
        self._full_at: OrderedDict[str, int] = OrderedDict()
        """When each bucket will be full again (ms); "" is that of all."""

    def take(self, origin: str) -> bool:
        """Take one, if there is one in both."""
        now = self._clock.now()
        wants = ((origin, _BURST, _REFILL), ("", _BURST_OF_ALL, _REFILL_OF_ALL))
        after = {key: max(self._full_at.get(key, 0), now) + refill for key, _, refill in wants}
        if any(after[key] - now > burst * refill for key, burst, refill in wants):
            return False
        self._full_at |= after
        self._full_at.move_to_end("")
        if len(self._full_at) > _ORIGINS:
            self._full_at.popitem(last=False)
        return True
