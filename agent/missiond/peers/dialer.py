# SPDX-License-Identifier: Apache-2.0
"""Dials of paired devices with an address and no link, less and less often."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from missiond.common.backoff import pause_after
from missiond.core.pairing.messages import Introduce, serialise
from missiond.peers.device import Device
from missiond.peers.log_limiter import PeerLogLimiter
from missiond.peers.timers import Timers
from missiond.peers.transport.address import Address
from missiond.peers.transport.channel import Channel, Channels
from missiond.peers.transport.connect import NotReached, connect
from missiond.peers.transport.frames import STRANGER_LIMIT
from missiond.peers.transport.identity import Identity
from missiond.peers.transport.tls import Contexts

_STEADY = 10_000
"""A link that lasted so long (ms) was a good one: the next dial comes at once."""
_FIRST = 250
_APART = 1000
"""Milliseconds between the begins of two dials at least, whatever discovery says."""
_HUNG_UP = 500
"""Milliseconds at least until one is dialled again that hung up."""
_BROKEN = 60_000
_FORMER = 600_000
"""How long a peer is dialled where it is not seen any more."""
_INTRODUCE_SECONDS = 5.0
_LOGGER = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Attempts:
    """What has been tried for one device since it was last there."""

    since: int
    began: int = -_APART
    """When the last dial was begun."""
    task: asyncio.Task[None] | None = None
    introduce: bool = False
    """Whether it hung up on us: perhaps it knows our id alone."""
    introduced: bool = False
    """Whether we have shown it our certificate since the last pause."""
    anew: bool = False
    """Whether the dial that is being given up is to be followed by another at once."""


class Dialer:
    """Hands new channels to `take`; `learn` stores a proved certificate of a device.

    `touched` is called with a device whose `trouble` is another. `pace` is a factor of all its pauses.
    """

    def __init__(
        self,
        identity: Identity,
        contexts: Contexts,
        channels: Channels,
        timers: Timers,
        complaints: PeerLogLimiter,
        take: Callable[[Channel, Device], None],
        learn: Callable[[Device, bytes], None],
        touched: Callable[[Device], None],
        pace: float = 1.0,
    ) -> None:
        self._touched = touched
        self._pace = pace
        self._identity = identity
        self._contexts = contexts
        self._channels = channels
        self._timers = timers
        self._complaints = complaints
        self._take = take
        self._learn = learn
        self._attempts: dict[str, _Attempts] = {}
        self._closed = False

    def wake(self, device: Device, delay: int = 0) -> None:
        """Dial soon, after `delay` ms, for a device new, discovered again, or at another address."""
        now = self._timers.clock.now()
        attempts = self._attempts.setdefault(device.device_id, _Attempts(now))
        attempts.since = now
        if attempts.task is None:
            self._plan(device, max(self._spread() + delay, attempts.began + self._paced(_APART) - now))

    def renew(self, device: Device) -> None:
        """Dial soon in a changed network, where answers to a dial under way may never come."""
        attempts = self._attempts.get(device.device_id)
        if attempts is not None:
            attempts.began = -_APART  # that was in another network
        self.wake(device)
        if attempts is not None and attempts.task is not None:
            attempts.anew = True
            attempts.task.cancel()

    def ended(
        self, device: Device, reason: str, *, lasted: int | None, dialled_here: bool, broken: bool
    ) -> None:
        """Plan the next dial after the end of a link, up for `lasted` ms or never (None)."""
        now = self._timers.clock.now()
        attempts = self._attempts.setdefault(device.device_id, _Attempts(now))
        if lasted is not None and lasted >= _STEADY:
            attempts.since = now
        if lasted is None and dialled_here and not broken and not attempts.introduced:
            attempts.introduce = True
            self._plan(device, 0)
            return
        if lasted is None and dialled_here and not broken:
            self._complaints.report(device.shown, f"does not let this host in ({reason})")
            self._tell(device, f"it does not trust this host (any more); pair them again ({reason})")
        attempts.introduced = False
        if lasted is not None and lasted >= _STEADY and not broken:
            self._plan(device, self._spread())
        else:
            pause = max(self._pause(attempts), self._paced(_HUNG_UP))
            self._plan(device, pause if not broken else self._paced(_BROKEN))

    def forget(self, device: Device) -> None:
        """Stop to dial a device."""
        attempts = self._attempts.pop(device.device_id, None)
        self._timers.drop(self._key(device))
        if attempts is not None and attempts.task is not None:
            attempts.task.cancel()

    def close(self) -> list[asyncio.Task[None]]:
        """Stop to dial; return the tasks about to end."""
        self._closed = True
        tasks = [attempts.task for attempts in self._attempts.values() if attempts.task is not None]
        for task in tasks:
            task.cancel()
        return tasks

    def _key(self, device: Device) -> tuple[str, str]:
        return ("dial", device.device_id)

    def _pause(self, attempts: _Attempts) -> int:
        elapsed = self._timers.clock.now() - attempts.since
        return self._paced(pause_after(elapsed, random.random()))  # noqa: S311

    def _spread(self) -> int:
        """Return ms until a first dial, another each time so that hosts do not dial in step."""
        return self._paced(int(_FIRST * random.random()))  # noqa: S311

    def _paced(self, pause: int) -> int:
        return int(pause * self._pace)

    def _plan(self, device: Device, pause: int) -> None:
        if not self._closed:
            self._timers.after(self._key(device), pause, lambda: self._begin(device))

    def _begin(self, device: Device) -> None:
        attempts = self._attempts.get(device.device_id)
        now = self._timers.clock.now()
        if attempts is None or attempts.task is not None or self._closed:
            return
        if not _wanted(device):
            return  # whatever changes that wakes us
        if not _addresses(device, now - attempts.since):
            self._tell(device, "nobody has found it on the network, and it has no fixed address")
            return
        attempts.began = now
        attempts.task = asyncio.get_running_loop().create_task(self._dial(device, attempts))
        attempts.task.add_done_callback(lambda task: self._done(device, attempts, task))

    def _tell(self, device: Device, trouble: str) -> None:
        """Let people know why it is not connected."""
        if trouble != device.trouble:
            device.trouble = trouble
            self._touched(device)

    def _done(self, device: Device, attempts: _Attempts, task: asyncio.Task[None]) -> None:
        attempts.task = None
        anew, attempts.anew = attempts.anew, False
        if task.cancelled():
            if anew and self._attempts.get(device.device_id) is attempts:
                self.wake(device)
            return
        error = task.exception()
        if isinstance(error, NotReached):
            _LOGGER.debug("%s is not reached: %s", device.shown, error)
            self._tell(device, str(error))
            if error.impostor:
                self._complaints.report(device.shown, f"is not where it should be: {error}")
        elif error is not None:
            _LOGGER.error("dialling %s failed", device.shown, exc_info=error)
        if error is not None and self._attempts.get(device.device_id) is attempts:
            self._plan(device, self._pause(attempts))

    async def _dial(self, device: Device, attempts: _Attempts) -> None:
        peer = device.peer
        assert peer is not None
        if peer.certificate is None or attempts.introduce:
            attempts.introduce, attempts.introduced = False, True
            await self._introduce(device)
            peer = device.peer
            if peer is None or peer.certificate is None:
                raise NotReached("its certificate is not known")
        channel = await connect(device.device_id, _addresses(device), self._contexts.client, self._channels)
        if device.peer is None or self._closed:
            channel.cut_off("no longer wanted")
            return
        self._take(channel, device)

    async def _introduce(self, device: Device) -> None:
        """Show our certificate to a device that may know our id alone, and learn its own."""
        channel = await connect(
            device.device_id, _addresses(device), self._contexts.stranger, self._channels, STRANGER_LIMIT
        )
        assert channel.certificate is not None
        self._learn(device, channel.certificate)
        farewell = _Farewell(channel)
        channel.send(serialise(Introduce(self._identity.certificate)))
        channel.attach(farewell)
        try:
            async with asyncio.timeout(_INTRODUCE_SECONDS):
                await farewell.over
        except TimeoutError:
            pass
        finally:
            channel.cut_off("introduced")


class _Farewell:
    """Waits for the other side to hang up, which is all the answer there is."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def message(self, _data: bytes) -> None:
        """Cut the talker off: nothing is left to say."""
        self._channel.cut_off("it talks to strangers")

    def writable(self, *, now: bool) -> None:
        """One message is all."""

    def lost(self, _reason: str, *, broken: bool) -> None:
        """Note the end of the connection."""
        if not self.over.done():
            self.over.set_result(None)


def _wanted(device: Device) -> bool:
    return device.peer is not None and device.link is None and not device.pairing


def _addresses(device: Device, elapsed: int = 0) -> list[Address]:
    """Where to try, after so many ms without a link."""
    former = device.former if elapsed < _FORMER else ()
    return list(dict.fromkeys([*device.addresses, *former]))
