# SPDX-License-Identifier: Apache-2.0
"""StateTransfers of missions on the way between this host's disk and other hosts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from missiond.common.background_work import BackgroundWork
from missiond.core.handover.effects import ReceiveState, SendState
from missiond.daemon.handover.client import HandoverClient
from missiond.daemon.handover.executor import Tell
from missiond.daemon.handover.outbox import Outbox
from missiond.daemon.handover.store import HandoverStore
from missiond.errors import AgentError, DistributedServiceFailed
from missiond.store.handover_state_files import WrongState
from missiond.store.partial_state import StatePart

_LOGGER = logging.getLogger(__name__)
_PAUSE = 0.5
_SENDING, _OPENING = "sending", "opening"
_PATIENCE = 5.0
"""Seconds that a peer's message waits for its state to be expected."""


@dataclass(slots=True, eq=False)
class _Incoming:
    effect: ReceiveState
    part: StatePart
    sealing: bool = False
    following: asyncio.Task[None] | None = None


class StateTransfers:
    """The states of all transfers, each in one direction."""

    def __init__(
        self,
        client: HandoverClient,
        outbox: Outbox,
        disk: HandoverStore,
        tell: Tell,
        room: Callable[[str, int], None],
        ready: Callable[[str], Awaitable[None]],
    ) -> None:
        """Send and receive states by `client`.

        :param room: checks for room for a state of this size with the program; raises AgentError.
        :param ready: prepares the start for a received state, or begins to; must not raise, nor take long.
        """
        self._client = client
        self._outbox = outbox
        self._disk = disk
        self._tell = tell
        self._room = room
        self._ready = ready
        self._incoming: dict[str, _Incoming] = {}
        self._work = BackgroundWork(_LOGGER, "the state of a hand-over")

    def send(self, effect: SendState, size: int) -> None:
        """Start to send a state, in place of a transmission under way."""
        self._work.cancel((effect.transfer, _SENDING))
        self._work.start(self._send(effect, size), key=(effect.transfer, _SENDING))

    def receive(self, peer: str, effect: ReceiveState) -> None:
        """Start to receive a state, in place of an earlier one."""
        self.forget(effect.transfer)
        self._work.start(self._open(peer, effect), key=(effect.transfer, _OPENING))

    async def expected(self, transfer: str) -> None:
        """Return once the state of a transfer may come, if one is to come."""
        if tasks := self._work.of((transfer, _OPENING)):
            await asyncio.wait(tasks, timeout=_PATIENCE)

    def complete(self, transfer: str) -> None:
        """Seal a state, now whole in the file; may be called again."""
        found = self._incoming.get(transfer)
        if found is not None and not found.sealing:
            found.sealing = True
            self._work.start(self._seal(found))

    def arrived(self, transfer: str, done: int) -> None:
        """Note how many bytes of a state are in the file."""
        found = self._incoming.get(transfer)
        if found is None or found.sealing or not 0 < done < found.effect.size:
            return
        if found.following is None or found.following.done():
            found.following = self._work.start(self._follow(found.part, done))

    def failed(self, transfer: str, reason: str) -> None:
        """Report a state not writable here."""
        if transfer in self._incoming:
            self._failed(transfer, reason)

    def forget(self, transfer: str) -> None:
        """Stop sending and receiving the state of a transfer."""
        self._work.cancel((transfer, _SENDING))
        self._work.cancel((transfer, _OPENING))
        found = self._incoming.pop(transfer, None)
        if found is not None and not found.sealing:
            os.close(found.part.fd)

    def close(self) -> None:
        """End all work, and leave the files."""
        for transfer in list(self._incoming):
            self.forget(transfer)
        self._work.close()

    async def _send(self, effect: SendState, size: int) -> None:
        await self._outbox.sent(effect.transfer)  # or it comes before it is expected
        try:
            fd = self._disk.open_state(effect.transfer)
        except OSError as error:
            self._failed(effect.transfer, f"the state can't be read: {error.strerror}")
            return
        try:
            await self._client.send_state(effect.peer, effect.transfer, fd, effect.offset, size)
        except AgentError as error:
            _LOGGER.info("the state of %s was not sent to its end: %s", effect.transfer, error.text)
            self._outbox.lost(effect.peer, effect.transfer)
            return
        finally:
            os.close(fd)
        self._tell(lambda coordinator: coordinator.state_sent(effect.transfer, size))

    async def _open(self, peer: str, effect: ReceiveState) -> None:
        transfer = effect.transfer
        try:
            self._room(transfer, effect.size)
            part = self._disk.make_part(transfer, effect.size)
        except AgentError as error:
            self._failed(transfer, error.text)
            return
        except OSError as error:
            self._failed(transfer, f"the state can't be kept: {error.strerror}")
            return
        self._incoming[transfer] = _Incoming(effect, part)
        if effect.size == 0:
            self.complete(transfer)
            return
        await self._expect(peer, effect, part.fd)

    async def _expect(self, peer: str, effect: ReceiveState, fd: int) -> None:
        """Have the peer unit take the state in; where it is away, the coordinator knows how long to wait."""
        while True:
            have = os.fstat(fd).st_size
            try:
                await self._client.expect_state(peer, effect.transfer, fd, have, effect.size)
            except DistributedServiceFailed as error:
                _LOGGER.info("the state of %s can't come yet: %s", effect.transfer, error.text)
                await asyncio.sleep(_PAUSE)
            except AgentError as error:
                self._failed(effect.transfer, error.text)
                return
            else:
                return

    async def _follow(self, part: StatePart, done: int) -> None:
        with contextlib.suppress(OSError):  # which is met again when it is sealed
            await self._disk.follow_part(part, done)

    async def _seal(self, found: _Incoming) -> None:
        effect = found.effect
        try:
            if found.following is not None:
                await asyncio.wait([found.following])
            await self._disk.seal_part(found.part, effect.size, effect.sha256)
        except WrongState as error:
            self._failed(effect.transfer, f"the state is damaged: {error}")
        except OSError as error:
            self._failed(effect.transfer, f"the state can't be kept: {error.strerror}")
        else:
            await self._ready(effect.transfer)
            self._tell(lambda coordinator: coordinator.state_complete(effect.transfer))
        finally:
            os.close(found.part.fd)
            if self._incoming.get(effect.transfer) is found:
                del self._incoming[effect.transfer]

    def _failed(self, transfer: str, reason: str) -> None:
        self._tell(lambda coordinator: coordinator.state_failed(transfer, reason))
