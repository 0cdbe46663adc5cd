# SPDX-License-Identifier: Apache-2.0
"""Hand-overs between the agent and peers: messages, states, and permissions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from missiond.common.clock import Clock
from missiond.core.link.checks import TransferId
from missiond.core.link.interfaces import Reply
from missiond.core.link.letters import HANDOVER, Body, Step
from missiond.core.schema import BadValue, check_of
from missiond.errors import AgentError, DistributedServiceFailed, InvalidParameter
from missiond.peers.device import Device, Devices
from missiond.peers.handover import state_files
from missiond.peers.handover.state_files import StateReader, StateWriter
from missiond.peers.handover.transfers import InboundPolicy, Key, Transfers
from missiond.peers.link import Link
from missiond.peers.log_limiter import PeerLogLimiter
from missiond.peers.timers import Timers

if TYPE_CHECKING:
    from missiond.peers.agent.notifier import AgentNotifier

EVERY = 250
"""Milliseconds between two reports at least; the last one comes at once."""
_AGAIN = 500
"""Milliseconds between two times that all is said again to a peer whose agent was started anew."""
_FORGOTTEN = "the transfer was forgotten; begin another one"
_AGENT_GONE = "the agent of that host has gone; send it again when it is back"


class ProgressThrottle:
    """Limits reports about a state of `size` bytes; `tell` gets the bytes kept at the other side."""

    def __init__(self, clock: Clock, size: int, tell: Callable[[int], None]) -> None:
        self._clock = clock
        self._size = size
        self._tell = tell
        self._told: int | None = None

    def at(self, offset: int) -> None:
        """Report this many bytes, unless the latest report is too fresh."""
        now = self._clock.now()
        if offset == self._size or self._told is None or now - self._told >= EVERY:
            self._told = now
            self._tell(offset)


class HandoverRelay:
    """Relays hand-overs of this host; errors are AgentErrors."""

    def __init__(
        self, devices: Devices, notifier: AgentNotifier, complaints: PeerLogLimiter, timers: Timers
    ) -> None:
        self._devices = devices
        self._notifier = notifier
        self._complaints = complaints
        self._timers = timers
        self._clock = timers.clock
        self._transfers = Transfers()

    def policy(self, device: Device) -> InboundPolicy:
        """Return the policy for messages of a peer."""
        return InboundPolicy(device, self._transfers, self._notifier, self._complaints)

    def follow(self, transfers: Iterable[Key]) -> list[tuple[str, bool]]:
        """Begin anew with these transfers alone; return connected peers, and whether each knows hand-overs.

        Peers are told: what an earlier agent had not written down is to be said again.
        """
        self.reset()
        for device_id, transfer in transfers:
            self._transfers.learn(device_id, _transfer(transfer))
        connected = [device for device in self._devices if device.connected]
        for device in connected:
            if supports(device) and device.link is not None:
                device.link.do(device.link.session.agent_back)
        return [(device.device_id, supports(device)) for device in connected]

    def reset(self) -> None:
        """Send and expect nothing any more: the agent has gone."""
        for key in self._transfers:
            self._end(key, DistributedServiceFailed(_AGENT_GONE))

    def agent_back(self, device: Device) -> None:
        """Repeat everything to a peer, at most every 500 ms."""
        due = max(self._clock.now(), device.said_again + _AGAIN)
        self._timers.at(("again", device.device_id), due, lambda: self._say_again(device))

    def _say_again(self, device: Device) -> None:
        device.said_again = self._clock.now()
        if device.connected:
            self._notifier.link_up(device, handovers=supports(device))

    def drop(self, device_id: str, reason: str) -> None:
        """End all transfers with a device."""
        for key in self._transfers:
            if key[0] == device_id:
                self._end(key, DistributedServiceFailed(reason))

    def forget(self, transfer: str) -> None:
        """Forget a transfer, and end the requests under way."""
        for key in self._transfers:
            if key[1] == transfer:
                self._end(key, DistributedServiceFailed(_FORGOTTEN))

    async def send(self, device: Device, transfer: str, step: str, body: str) -> None:
        """Send a message; return once the agent over there has taken the message."""
        _argument("step", Step, step)
        _argument("body", Body, body)
        link = self._link(device, transfer)
        await _outcome(lambda reply: link.handovers.send(transfer, step, body, reply))

    async def send_state(self, device: Device, transfer: str, fd: int, offset: int, size: int) -> None:
        """Send a state; return once all is kept over there; `fd` stays the caller's."""
        link = self._link(device, transfer)
        progress = ProgressThrottle(
            self._clock,
            size,
            lambda kept: self._notifier.state_progress(device, transfer, kept, size, sending=True),
        )
        source = StateReader(state_files.to_read(fd, offset, size), size, link.stir, progress.at)
        try:
            await _outcome(lambda reply: link.handovers.send_state(transfer, source, offset, size, reply))
        except asyncio.CancelledError:
            link.handovers.abandon(transfer, DistributedServiceFailed(_FORGOTTEN))
            raise
        finally:
            source.close()

    async def expect(self, device: Device, transfer: str, fd: int, offset: int, size: int) -> None:
        """Take in the state of a transfer from now on, in place of an earlier wish.

        `fd` stays the caller's; `offset` is where its file ends. Where the transfer was expected already,
        the file may have grown since the caller looked: then it counts from there.
        """
        self._transfers.learn(device.device_id, _transfer(transfer))
        before = self._transfers.take(device.device_id, transfer)
        if before is not None:
            await before.closed()
            offset = max(offset, state_files.length(fd))
        self._transfers.room()
        progress = ProgressThrottle(
            self._clock,
            size,
            lambda kept: self._notifier.state_progress(device, transfer, kept, size, sending=False),
        )

        def told(news: int | AgentError) -> None:
            if isinstance(news, AgentError):
                self._complaints.report(f"a state from {device.shown}", news.text)
                self._notifier.state_failed(device, transfer, news)
                return
            progress.at(news)
            if news == size:
                self._notifier.state_complete(device, transfer)

        own = state_files.to_write(fd, offset, size)
        self._transfers.expect(device.device_id, transfer, StateWriter(own, offset, size, told))
        if offset == size:
            self._notifier.state_complete(device, transfer)

    def _link(self, device: Device, transfer: str) -> Link:
        """Return the link to a device, which knows the transfer from now on."""
        _transfer(transfer)
        link = device.link
        if link is None or not link.connected:
            raise DistributedServiceFailed(f"{device.shown} is not connected; send it again when it is")
        if not supports(device):
            raise DistributedServiceFailed(
                f"{device.shown}: that peer's missiond is too old for hand-overs; upgrade it"
            )
        self._transfers.learn(device.device_id, transfer)
        return link

    def _end(self, key: Key, error: AgentError) -> None:
        device = self._devices.get(key[0])
        for link in (device.link, device.next) if device is not None else ():
            if link is not None:
                link.handovers.abandon(key[1], error)
        self._transfers.forget(key, error)


def supports(device: Device) -> bool:
    """Return whether a connected device knows hand-overs."""
    peer = device.link.session.peer if device.link is not None else None
    return peer is not None and HANDOVER in peer.features


async def _outcome(request: Callable[[Reply], None]) -> None:
    """Make a request and wait for what becomes of it; raises AgentError."""
    outcome: asyncio.Future[AgentError | None] = asyncio.get_running_loop().create_future()

    def reply(found: AgentError | None) -> None:
        if not outcome.done():
            outcome.set_result(found)

    request(reply)
    error = await outcome
    if error is not None:
        raise error


def _transfer(transfer: str) -> str:
    return _argument("transfer", TransferId, transfer)


def _argument(name: str, kind: Any, value: str) -> str:  # noqa: ANN401 (an annotation)
    try:
        found: str = check_of(kind)(value)
    except BadValue as error:
        raise InvalidParameter(f"{name}: {error}") from None
    return found
