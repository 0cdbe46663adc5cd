# SPDX-License-Identifier: Apache-2.0
"""Hand-overs between this agent and those of other hosts, by way of the peer unit."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Any, Protocol

from missiond.agent.expectations import Expectations
from missiond.agent.letters import Letter, Mailbox
from missiond.agent.peers import (
    FIRST_PAUSE,
    INTERFACE,
    LONGEST_PAUSE,
    NAME,
    PATH,
    PATIENCE,
    hangs,
    off,
    translated,
)
from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.bus.subscription import Subscription
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


class Courier:
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
        self._expectations = Expectations()
        self._owner = ""
        self._ready = False
        self._watch: Subscription | None = None
        self._hearing: list[Subscription] = []
        self._following: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._pause = FIRST_PAUSE
        self._early: list[Callable[[], None]] = []
        self._forgetting: set[asyncio.Task[None]] = set()
        self._waiting = 0

    async def start(self) -> None:
        """Begin to follow it. Never raises for its sake."""
        self._watch = self._connection.watch_name(NAME, lambda _, new: self._owned_by(new))
        try:
            owner = await self._connection.name_owner(NAME)
        except (RemoteError, CallTimeout) as error:
            _LOGGER.warning("the bus does not tell about %s: %s", NAME, error)
            return
        if owner is not None and owner != self._owner:
            self._owned_by(owner)

    def close(self) -> None:
        """Follow it no longer; nobody is told of an end."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        self._leave()
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
        if self._owner:
            task = asyncio.get_running_loop().create_task(self._forget(transfer))
            self._forgetting.add(task)
            task.add_done_callback(self._forgetting.discard)

    async def received(self, letter: Letter) -> None:
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
        await self._until_ready()
        if self._waiting >= MAX_WAITING:
            raise TransactionFailed("too many messages wait for the peer unit; let one end first")
        self._known.add((device_id, transfer))
        self._waiting += 1
        try:
            await self._call(member, signature, (device_id, transfer, *more), fd=fd, timeout=timeout)
        except CallTimeout:
            raise hangs() from None
        except RemoteError as error:
            raise translated(error, there=bool(self._owner)) from None
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
            self._owner or NAME, PATH, INTERFACE, member, signature, body,
            fds=() if fd is None else (fd,), timeout=timeout, no_auto_start=True,
        )  # fmt: skip
        for each in fds:
            os.close(each)
        return found

    async def _until_ready(self) -> None:
        if not self._owner:
            raise off()
        if self._following is not None:
            await asyncio.wait([self._following], timeout=PATIENCE)
        if not self._ready:
            raise hangs() if self._owner else off()

    async def _forget(self, transfer: str) -> None:
        try:
            await self._call("ForgetHandover", "s", (transfer,))
        except (RemoteError, CallTimeout) as error:
            _LOGGER.debug("the peer unit was not told to forget a transfer: %s", error)

    # --- following the peer unit

    def _owned_by(self, owner: str) -> None:
        links = list(self.links)
        self._leave()
        for device_id in links:
            self._link_down(device_id)
        self._owner = owner
        if owner:
            self._hear(owner)
            self._begin()

    def _leave(self) -> None:
        for subscription in self._hearing:
            subscription.close()
        self._hearing.clear()
        if self._following is not None:
            self._following.cancel()
            self._following = None
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._pause = FIRST_PAUSE
        self._owner, self._ready = "", False
        self._early.clear()

    def _hear(self, owner: str) -> None:
        for member, callback in (
            ("LinkUp", self._link_up),
            ("LinkDown", self._link_down),
            ("StateProgress", self._progress),
            ("StateComplete", self._state_complete),
            ("StateFailed", self._state_failed),
        ):
            heard = self._in_time(callback)
            self._hearing.append(
                self._connection.receive(
                    sender=owner, interface=INTERFACE, member=member, path=PATH, callback=heard
                )
            )

    def _in_time(self, callback: Callable[..., None]) -> Callable[..., None]:
        """What comes before the list of links is dealt with after it."""

        def heard(*arguments: object) -> None:
            if self._ready:
                callback(*arguments)
            else:
                self._early.append(lambda: callback(*arguments))

        return heard

    def _begin(self) -> None:
        self._retry = None
        self._early.clear()
        self._following = asyncio.get_running_loop().create_task(self._follow())
        self._following.add_done_callback(self._followed)

    async def _follow(self) -> None:
        [links] = await self._call("FollowHandovers", "a(ss)", (sorted(self._known),))
        for (device_id, transfer), fd, offset, size in self._expectations:
            try:
                await self._call("ExpectState", "sshtt", (device_id, transfer, 0, offset, size), fd=fd)
            except RemoteError as error:
                _LOGGER.warning("a state is not expected any more: %s", error.text)
        for device_id, handovers in links:
            self._link_up(device_id, handovers)

    def _followed(self, task: asyncio.Task[None]) -> None:
        if self._following is not task or task.cancelled():
            return
        self._following = None
        error = task.exception()
        if error is not None:
            _LOGGER.warning("the peer unit does not tell of hand-overs: %s", error)
            self._retry = asyncio.get_running_loop().call_later(self._pause, self._begin)
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
            return
        self._ready = True
        early, self._early = self._early, []
        for deal in early:
            deal()

    # --- what it tells

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
