# SPDX-License-Identifier: Apache-2.0
"""The client of missiond-peers for hand-overs with agents of other hosts."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.common.admission import Admission
from missiond.common.background_work import BackgroundWork
from missiond.daemon.peering.peer_follower import (
    INTERFACE,
    NAME,
    PATH,
    PATIENCE,
    PeerFollower,
    failure,
    hangs,
    translated,
)
from missiond.errors import TransactionFailed

Key = tuple[str, str]
"""Id of the device, id of the transfer."""


class ExpectedStates:
    """States to come from other hosts, with a file descriptor for each."""

    def __init__(self) -> None:
        self._states: dict[Key, tuple[int, int]] = {}

    def __iter__(self) -> Iterator[tuple[Key, int, int, int]]:
        """Device and transfer, file descriptor, length of the file now, size of the state."""
        return iter([(key, fd, os.fstat(fd).st_size, size) for key, (fd, size) in self._states.items()])

    def add(self, device_id: str, transfer: str, fd: int, size: int) -> None:
        """Expect a state in place of an earlier one of the transfer; `fd` stays the caller's."""
        own = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
        before = self._states.pop((device_id, transfer), None)
        if before is not None:
            os.close(before[0])
        self._states[device_id, transfer] = own, size

    def drop(self, transfer: str) -> None:
        """Expect nothing more of a transfer."""
        for key in [key for key in self._states if key[1] == transfer]:
            os.close(self._states.pop(key)[0])

    def close(self) -> None:
        """Expect nothing."""
        for fd, _ in self._states.values():
            os.close(fd)
        self._states.clear()


if TYPE_CHECKING:
    from missiond.daemon.handover.handovers import Handovers

ANSWER = 60.0
"""Seconds for a message to be taken over there; the peer unit gives up before."""
MAX_WAITING = 32
"""Messages and states waiting at a time, below the bus's limit (128)."""
_LOGGER = logging.getLogger(__name__)


class HandoverClient:
    """Client of the peer unit for hand-overs; `connection` takes file descriptors, and needs no name.

    Transfers named in any call, or by `know`, are known until `forget`: only about these may peers without
    the permission `continue` write. Expected states are expected again after a restart of the peer unit.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._handovers: Handovers
        self.links: dict[str, bool] = {}
        """Devices with a link, and whether they know what a hand-over is."""
        self._known: set[tuple[str, str]] = set()
        self._expectations = ExpectedStates()
        self._follower = PeerFollower(
            connection,
            self,
            {
                "LinkUp": self._link_up,
                "LinkDown": self._link_down,
                "StateProgress": self._progress,
                "StateComplete": lambda _device, transfer: self._handovers.states.complete(transfer),
                "StateFailed": lambda _device, *failure: self._handovers.states.failed(*failure),
            },
        )
        self._forgetting = BackgroundWork(_LOGGER, "forgetting a transfer")
        self._asking = Admission(_too_many, most=MAX_WAITING)

    async def start(self, handovers: Handovers) -> None:
        """Follow the peer unit, and give `handovers` the news; never raises for the unit's sake."""
        self._handovers = handovers
        await self._follower.start()

    def close(self) -> None:
        """Stop following the unit; nobody is told of an end."""
        self._follower.close()
        self._forgetting.close()
        self._expectations.close()

    def know(self, device_id: str, transfer: str) -> None:
        """Name a transfer of an earlier run; before `start`."""
        self._known.add((device_id, transfer))

    # --- to other hosts

    async def send(self, device_id: str, transfer: str, step: str, body: str) -> None:
        """Send a message, and return on arrival at the agent over there; raises AgentError.

        Messages to one device arrive in order, each at most once. After DistributedServiceFailed nobody knows
        whether the message has arrived.
        """
        await self._ask(device_id, transfer, "SendHandover", "ssss", (step, body), timeout=ANSWER)

    async def send_state(self, device_id: str, transfer: str, fd: int, offset: int, size: int) -> None:
        """Send `fd` from `offset` to `size`, and return on arrival in the file there; raises AgentError.

        `fd` is a file or memfd, open for reading, and stays the caller's. The receiver chooses where to
        begin, not before `offset`: after a lost link the same call continues there.
        """
        await self._ask(device_id, transfer, "SendState", "sshtt", (0, offset, size), fd=fd)

    async def expect_state(self, device_id: str, transfer: str, fd: int, offset: int, size: int) -> None:
        """Let a state come, of exactly `size` bytes; raises AgentError.

        `fd` is a file open for writing with `offset` bytes; it stays the caller's. It should be on a disk:
        the memory of a memfd would count as the peer unit's.
        """
        await self._ask(device_id, transfer, "ExpectState", "sshtt", (0, offset, size), fd=fd)
        self._expectations.add(device_id, transfer, fd, size)

    def forget(self, transfer: str) -> None:
        """Forget a transfer; sending and receiving for this transfer end."""
        self._known = {key for key in self._known if key[1] != transfer}
        self._expectations.drop(transfer)
        if self._follower.owner:
            self._forgetting.start(self._forget(transfer))

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
        await self._follower.reach()
        with self._asking.place():
            self._known.add((device_id, transfer))
            try:
                await self._call(member, signature, (device_id, transfer, *more), fd=fd, timeout=timeout)
            except CallTimeout:
                raise hangs() from None
            except RemoteError as error:
                raise translated(error, there=bool(self._follower.owner)) from None

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

    async def read(self) -> None:
        """Follow the unit's hand-overs, and expect the states to come again."""
        [links] = await self._call("FollowHandovers", "a(ss)", (sorted(self._known),))
        for (device_id, transfer), fd, offset, size in self._expectations:
            try:
                await self._call("ExpectState", "sshtt", (device_id, transfer, 0, offset, size), fd=fd)
            except RemoteError as error:
                _LOGGER.warning("a state is not expected any more: %s", error.text)
        for device_id, handovers in links:
            self._link_up(device_id, handovers)

    def told(self) -> None:
        """Do nothing more."""

    def failed(self, error: Exception) -> None:
        """Log the failure; people are told elsewhere."""
        _LOGGER.warning("hand-overs wait: %s", failure(error))

    def left(self, *, was_ready: bool, owner: str) -> None:
        """Take all links for gone."""
        for device_id in list(self.links):
            self._link_down(device_id)

    def _link_up(self, device_id: str, handovers: bool) -> None:
        self.links[device_id] = handovers
        self._handovers.link(device_id, up=handovers)

    def _link_down(self, device_id: str) -> None:
        if self.links.pop(device_id, None) is not None:
            self._handovers.link(device_id, up=False)

    def _progress(self, _device: str, transfer: str, sending: bool, done: int, _size: int) -> None:
        self._handovers.progress(transfer, done, sending=sending)


def _too_many() -> TransactionFailed:
    return TransactionFailed("too many messages wait for the peer unit; let one end first")
