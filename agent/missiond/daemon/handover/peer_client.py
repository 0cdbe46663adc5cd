# SPDX-License-Identifier: Apache-2.0
"""Hand-overs between this agent and those of other hosts, by way of the peer unit."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.daemon.handover.expected_states import ExpectedStates
from missiond.daemon.handover.messages import HandoverLetter, Mailbox
from missiond.daemon.peering.service_follower import (
    INTERFACE,
    NAME,
    PATH,
    PATIENCE,
    PeerFollower,
    hangs,
    translated,
)
from missiond.errors import DistributedServiceFailed, TransactionFailed

ANSWER = 60.0
"""Seconds for a message to be taken over there; the peer unit gives up before."""
MAX_WAITING = 32
"""Messages and states that may wait at a time, so that the bus's limit (128) is not used up."""
_LOGGER = logging.getLogger(__name__)


class CourierListener(Mailbox, Protocol):
    """Who wants to know what comes; but for `received`, called from the loop, and must not raise."""

    def progress(self, device_id: str, transfer: str, done: int, size: int, *, sending: bool) -> None:
        """So many bytes of a state are in the file of the receiving side; at most four times a second."""

    def state_complete(self, device_id: str, transfer: str) -> None:
        """An expected state is in its file, which is not flushed to the disk; may be said again."""

    def state_failed(self, device_id: str, transfer: str, reason: str) -> None:
        """What comes can't be written; the sender is told, and may send again once that is mended."""

    def link_up(self, device_id: str, *, handovers: bool) -> None:
        """There is a new link, on which nothing is under way: what was has failed. May be said again.

        Without `handovers` that peer's missiond is too old for them.
        """

    def link_down(self, device_id: str) -> None:
        """There is none any more."""


class PeerClient:
    """Follows the peer unit; `connection` takes file descriptors and need not own a name.

    `listener` is set before `start`. Transfers that are named in any call, or by `know`, are known until
    `forget`: it is about them that peers without the permission `continue` may write. What was expected is
    expected again when the peer unit restarts.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.listener: CourierListener | None = None
        self.links: dict[str, bool] = {}
        """Devices with a link, and whether they know what a hand-over is."""
        self._known: set[tuple[str, str]] = set()
        self._expectations = ExpectedStates()
        self._follower = PeerFollower(connection, self)
        self._forgetting: set[asyncio.Task[None]] = set()
        self._waiting = 0

    async def start(self) -> None:
        """Begin to follow it. Never raises for its sake."""
        await self._follower.start()

    def close(self) -> None:
        """Follow it no longer; nobody is told of an end."""
        self._follower.close()
        for task in self._forgetting:
            task.cancel()
        self._expectations.close()

    def know(self, device_id: str, transfer: str) -> None:
        """Let a transfer of an earlier run be known; before `start`."""
        self._known.add((device_id, transfer))

    # --- to other hosts

    async def send(self, device_id: str, transfer: str, step: str, body: str) -> None:
        """Return when the agent over there has taken the message; raises its AgentError, or ours.

        Messages to one device arrive in order, and each at most once; whether it did is not known after
        DistributedServiceFailed.
        """
        await self._ask(device_id, transfer, "SendHandover", "ssss", (step, body), timeout=ANSWER)

    async def send_state(self, device_id: str, transfer: str, fd: int, offset: int, size: int) -> None:
        """Return when what `fd` has from `offset` to `size` is in the file over there; raises AgentError.

        `fd` is a file or memfd, open for reading, and stays the caller's. The receiving side says where to
        begin, not before `offset`: after a lost link the same call goes on where that stopped.
        """
        await self._ask(device_id, transfer, "SendState", "sshtt", (0, offset, size), fd=fd)

    async def expect_state(self, device_id: str, transfer: str, fd: int, offset: int, size: int) -> None:
        """Let a state come, of exactly `size` bytes; raises AgentError.

        `fd` is a file open for writing that ends at `offset`; it stays the caller's. A file on a disk, rather
        than a memfd: the memory of what the peer unit writes to one would count as its own.
        """
        await self._ask(device_id, transfer, "ExpectState", "sshtt", (0, offset, size), fd=fd)
        self._expectations.add(device_id, transfer, fd, size)

    def forget(self, transfer: str) -> None:
        """Have nothing to do with a transfer any more; what is under way of it ends."""
        self._known = {key for key in self._known if key[1] != transfer}
        self._expectations.drop(transfer)
        if self._follower.owner:
            task = asyncio.get_running_loop().create_task(self._forget(transfer))
            self._forgetting.add(task)
            task.add_done_callback(self._forgetting.discard)

    async def received(self, letter: HandoverLetter) -> None:
        """Take a message from the peer unit; raises AgentError."""
        if self.listener is None:
            raise DistributedServiceFailed("that host does not hand missions over")
        await self.listener.received(letter)

    async def _ask(
        self,
        device_id: str,
        transfer: str,
        member: str,
        signature: str,
        more: tuple[object, ...],
        *,
        fd: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> None:
        await self._follower.until_ready()
        if self._waiting >= MAX_WAITING:
            raise TransactionFailed("too many messages wait for the peer unit; let one end first")
        self._known.add((device_id, transfer))
        self._waiting += 1
        try:
            await self._call(member, signature, (device_id, transfer, *more), fd=fd, timeout=timeout)
        except CallTimeout:
            raise hangs() from None
        except RemoteError as error:
            raise translated(error, there=bool(self._follower.owner)) from None
        finally:
            self._waiting -= 1

    async def _call(
        self,
        member: str,
        signature: str,
        body: tuple[object, ...],
        *,
        fd: int | None = None,
        timeout: float | None = PATIENCE,  # noqa: ASYNC109
    ) -> list[Any]:
        found, fds = await self._connection.call_fds(
            self._follower.owner or NAME, PATH, INTERFACE, member, signature, body,
            fds=() if fd is None else (fd,), timeout=timeout, no_auto_start=True,
        )  # fmt: skip
        for each in fds:
            os.close(each)
        return found

    async def _forget(self, transfer: str) -> None:
        try:
            await self._call("ForgetHandover", "s", (transfer,))
        except (RemoteError, CallTimeout) as error:
            _LOGGER.debug("the peer unit was not told to forget a transfer: %s", error)

    # --- as the reader of what the peer unit tells

    @property
    def signals(self) -> Mapping[str, Callable[..., None]]:
        """Of its links, and of states that are on their way."""
        return {
            "LinkUp": self._link_up,
            "LinkDown": self._link_down,
            "StateProgress": self._progress,
            "StateComplete": self._state_complete,
            "StateFailed": self._state_failed,
        }

    async def read(self) -> None:
        """Follow its hand-overs, and expect again what is to come."""
        [links] = await self._call("FollowHandovers", "a(ss)", (sorted(self._known),))
        for (device_id, transfer), fd, offset, size in self._expectations:
            try:
                await self._call("ExpectState", "sshtt", (device_id, transfer, 0, offset, size), fd=fd)
            except RemoteError as error:
                _LOGGER.warning("a state is not expected any more: %s", error.text)
        for device_id, handovers in links:
            self._link_up(device_id, handovers)

    def told(self) -> None:
        """Nothing is left to do."""

    def failed(self, sentence: str) -> None:
        """People are told where they are told of peers."""
        _LOGGER.warning("hand-overs wait: %s", sentence)

    def left(self, *, was_ready: bool, owner: str) -> None:
        """There are no links without it."""
        for device_id in list(self.links):
            self._link_down(device_id)

    def _link_up(self, device_id: str, handovers: bool) -> None:
        self.links[device_id] = handovers
        if self.listener is not None:
            self.listener.link_up(device_id, handovers=handovers)

    def _link_down(self, device_id: str) -> None:
        if self.links.pop(device_id, None) is not None and self.listener is not None:
            self.listener.link_down(device_id)

    def _progress(self, device_id: str, transfer: str, sending: bool, done: int, size: int) -> None:
        if self.listener is not None:
            self.listener.progress(device_id, transfer, done, size, sending=sending)

    def _state_complete(self, device_id: str, transfer: str) -> None:
        if self.listener is not None:
            self.listener.state_complete(device_id, transfer)

    def _state_failed(self, device_id: str, transfer: str, reason: str) -> None:
        if self.listener is not None:
            self.listener.state_failed(device_id, transfer, reason)
