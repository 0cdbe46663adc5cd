# SPDX-License-Identifier: Apache-2.0
"""Pairings under way: one a device, a few at a time, and strangers can't keep asking people."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from missiond.core.locks import printable
from missiond.core.pairing import Called, Caller, PairingFailed
from missiond.core.pairing_messages import BUSY, CROSSED, NONCE, REJECTED, Pair, Reject, serialise
from missiond.errors import DistributedServiceFailed, InvalidParameter
from missiond.peers import certificate as certificates
from missiond.peers.address import Address, group
from missiond.peers.channel import Channel
from missiond.peers.complaints import Complaints
from missiond.peers.connect import NotReached, connect
from missiond.peers.frames import STRANGER_LIMIT
from missiond.peers.identity import Identity
from missiond.peers.meeting import NAME_LENGTH, Meeting
from missiond.peers.timers import Timers
from missiond.peers.tls import Contexts

MOST_INCOMING = 8
_CODE_SECONDS = 20.0
_BURST, _REFILL = 3, 60_000
"""Requests of one address that people are asked about: three, then one a minute."""
_BURST_OF_ALL, _REFILL_OF_ALL = 12, 20_000
_ORIGINS = 256


class PairingEvents(Protocol):
    """What pairings tell the rest of the unit."""

    def pairing_requested(self, device_id: str, name: str, code: str) -> None:
        """People are to compare a code that they did not ask for."""

    def pairing_began(self, device_id: str, name: str) -> None:
        """A pairing with this device is under way."""

    def pairing_confirmed(self, device_id: str, name: str, certificate: bytes) -> bool:
        """People here said yes: trust it; true where that is new. Raises AgentError."""

    def pairing_revoked(self, device_id: str) -> None:
        """People there said no: trust it no longer."""

    def pairing_over(self, device_id: str) -> None:
        """It has ended, well or not."""


class Pairings:
    """By device id. `name` is what this host calls itself."""

    def __init__(
        self,
        identity: Identity,
        contexts: Contexts,
        name: str,
        timers: Timers,
        complaints: Complaints,
        events: PairingEvents,
    ) -> None:
        self._identity = identity
        self._contexts = contexts
        self._name = name
        self._timers = timers
        self._complaints = complaints
        self._events = events
        self._meetings: dict[str, Meeting] = {}
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self._allowance = _Allowance(timers)

    async def request(self, device_id: str, addresses: Sequence[Address]) -> str:
        """Begin a pairing and return the code; raises DistributedServiceFailed."""
        meeting = self._meetings.get(device_id)
        if meeting is not None and meeting.pairing.code:
            return meeting.pairing.code
        if device_id in self._waiting:
            raise DistributedServiceFailed("a pairing with this device has begun; wait for its code")
        waiting: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting[device_id] = waiting
        try:
            async with asyncio.timeout(_CODE_SECONDS):
                if meeting is None:
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
        channel = await connect(device_id, addresses, self._contexts.stranger, STRANGER_LIMIT)
        assert channel.certificate is not None
        if device_id in self._meetings:  # it was faster
            channel.close()
            return
        own = self._identity.certificate
        caller = Caller(own, self._name, os.urandom(NONCE), channel.certificate)
        meeting = Meeting(channel, caller, self._timers, self, incoming=False)
        self._meetings[device_id] = meeting
        self._events.pairing_began(device_id, "")
        meeting.begin(caller.start())

    def called(self, channel: Channel, message: Pair) -> None:
        """Somebody wants to pair with this host."""
        who = f"a stranger at {channel.host}"
        device_id = certificates.device_id(message.certificate)
        try:
            certificates.check(message.certificate)
        except certificates.BadCertificate as error:
            self._complaints.report(who, f"wants to pair: {error}")
            channel.cut_off("no certificate")
            return
        refusal = self._refusal(device_id, group(channel.host))
        if refusal:
            self._complaints.report(who, f"wants to pair, which is refused: {refusal}")
            channel.send(serialise(Reject(refusal)))
            channel.close()
            return
        crossed = self._meetings.pop(device_id, None)
        if crossed is not None:
            crossed.end(CROSSED, "the other side has begun one itself")
        called = Called(self._identity.certificate, self._name, os.urandom(NONCE))
        meeting = Meeting(channel, called, self._timers, self, incoming=True)
        self._meetings[device_id] = meeting
        self._events.pairing_began(device_id, printable(message.name, NAME_LENGTH).strip())
        meeting.begin(message)

    def _refusal(self, device_id: str, origin: str) -> str:
        """Why this request is not answered; empty where it is."""
        own = self._identity.device_id
        if device_id == own:
            return REJECTED
        known = self._meetings.get(device_id)
        if known is not None and (known.incoming or known.pairing.code):
            return BUSY
        if known is not None or device_id in self._waiting:
            # both have asked: the pairing goes on that the lower device id began
            return CROSSED if own < device_id else ""
        if sum(meeting.incoming for meeting in self._meetings.values()) >= MOST_INCOMING:
            return BUSY
        return "" if self._allowance.take(origin) else BUSY

    def confirm(self, device_id: str, accept: bool) -> None:
        """People here have compared the codes; raises InvalidParameter where nobody asked them to."""
        meeting = self._meetings.get(device_id)
        if meeting is None or not meeting.pairing.code:
            raise InvalidParameter("there is no pairing with this device under way; request one first")
        if not accept:
            meeting.end(REJECTED, "people here said that the codes differ")
            return
        if not meeting.pairing.here:
            certificate = meeting.pairing.peer_certificate
            meeting.newly_trusted = self._events.pairing_confirmed(device_id, meeting.name, certificate)
            meeting.confirm()

    def drop(self, device_id: str) -> None:
        """End the pairing with a device, if there is one."""
        meeting = self._meetings.get(device_id)
        if meeting is not None:
            meeting.end(REJECTED, "unpaired")

    def close(self) -> None:
        """End all."""
        for meeting in list(self._meetings.values()):
            meeting.end(BUSY, "shutting down")

    # --- from meetings

    def coded(self, meeting: Meeting) -> None:
        """There is a code for people to compare."""
        waiting = self._waiting.get(meeting.device_id)
        if waiting is not None:
            if not waiting.done():
                waiting.set_result(meeting.pairing.code)
        else:
            self._events.pairing_requested(meeting.device_id, meeting.name, meeting.pairing.code)

    def over(self, meeting: Meeting, failure: PairingFailed | None) -> None:
        """One has ended."""
        device_id = meeting.device_id
        if failure is not None and failure.broken:
            self._complaints.report(f"pairing with {meeting.host}", str(failure))
        if self._meetings.get(device_id) is not meeting:
            return  # another has taken its place
        del self._meetings[device_id]
        refused = failure is not None and failure.reason
        if refused and meeting.newly_trusted:
            self._events.pairing_revoked(device_id)
        waiting = self._waiting.get(device_id)
        if failure is not None and failure.reason != CROSSED and waiting is not None and not waiting.done():
            waiting.set_exception(DistributedServiceFailed(str(failure)))
        self._events.pairing_over(device_id)


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
