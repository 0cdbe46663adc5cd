# SPDX-License-Identifier: Apache-2.0
"""The agent, as this unit sees it: which missions of this host are shared, and what is told about one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Protocol

from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.common.subscription import Subscription
from missiond.core.link.message_types import INFO
from missiond.core.link.values import Values
from missiond.core.missions.missions import Row
from missiond.errors import AgentError, DistributedServiceFailed, from_name
from missiond.peers.agent.mission_details_codec import from_bus

AGENT = "org.missiond.Agent1"
PATH = "/org/missiond/Agent1"
INTERFACE = "org.missiond.Agent1.Sharing"

NOBODY_SHARES = "the agent is not there: no missions of this host are shared"
_FAILS = "the agent does not share its missions ({})"
_GRACE_SECONDS = 60.0
"""A restart of the agent is nothing to tell peers about; a longer absence is."""
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 300.0
_SECONDS = 8.0
_AT_ONCE = 32

_LOGGER = logging.getLogger(__name__)


class SharingEvents(Protocol):
    """What is done with it."""

    def publish(self, rows: Sequence[Row]) -> None:
        """These are the missions that are shared."""

    def publish_changes(self, rows: Sequence[Row], removed: Sequence[int]) -> None:
        """Some are new or different, some are gone."""

    def own_snapshot_changed(self, mission: int) -> None:
        """There is something new to see of one of them."""

    def sharing_state(self, sentence: str | None) -> None:
        """What is missing, or None when all is well."""


class AgentFeed:
    """Follows the agent through its restarts; `connection` is one that owns no name."""

    def __init__(self, connection: Connection, events: SharingEvents) -> None:
        self._connection = connection
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._subscriptions: list[Subscription] = []
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._early: list[tuple[list[Any], list[int]]] | None = None
        """Changes that came before the list that they change."""
        self._pause = _FIRST_PAUSE
        self._asking = 0
        self._snapshots = False
        self._subscribed = False
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Follow it from now on; raises RemoteError where the bus refuses that."""
        for member, callback in (("Changed", self._changed), ("SnapshotChanged", self._snapshot_changed)):
            self._subscriptions.append(
                await self._connection.add_signal(
                    sender=AGENT, interface=INTERFACE, member=member, path=PATH, callback=callback
                )
            )
        self._subscriptions.append(self._connection.watch_name(AGENT, lambda _, new: self._owned(bool(new))))
        self._owned(await self._connection.name_owner(AGENT) is not None)

    def close(self) -> None:
        """Follow it no longer."""
        self._cancel()
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions.clear()

    def watch_snapshots(self, *, on: bool) -> None:
        """Hear of new snapshots of shared missions, or no longer."""
        self._snapshots = on
        if self._subscribed and self._watching is None:
            self._watch()

    async def ask(self, what: str, mission: int) -> Values:
        """Return what the agent tells about a mission; raises AgentError."""
        if self._asking >= _AT_ONCE:
            raise DistributedServiceFailed("this host is asked for too much at a time; ask again")
        self._asking += 1
        try:
            [found] = await self._call("Info" if what == INFO else "Snapshot", "u", (mission,))
            return from_bus(found)
        except (RemoteError, CallTimeout) as error:
            raise _agent_error(error) from None
        finally:
            self._asking -= 1

    async def hand_over(
        self, device_id: str, transfer: str, step: str, body: str, permissions: Sequence[str]
    ) -> None:
        """Give the agent a peer's message about a hand-over; raises AgentError where it does not take it."""
        arguments = (device_id, transfer, step, body, list(permissions))
        try:
            await self._call("HandOver", "ssssas", arguments)
        except (RemoteError, CallTimeout) as error:
            raise _agent_error(error) from None

    async def _call(self, member: str, signature: str = "", body: Sequence[Any] = ()) -> list[Any]:
        return await self._connection.call(
            AGENT, PATH, INTERFACE, member, signature, body, timeout=_SECONDS, no_auto_start=True
        )

    def _owned(self, there: bool) -> None:
        self._cancel()
        self._pause = _FIRST_PAUSE
        if there:
            self._begin()
        else:
            self._events.sharing_state(NOBODY_SHARES)
            self._timer = self._loop.call_later(_GRACE_SECONDS, self._events.publish, ())

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        self._early = None
        self._subscribed = False

    def _begin(self) -> None:
        self._cancel()
        self._task = self._loop.create_task(self._subscribe())
        self._task.add_done_callback(self._done)

    async def _subscribe(self) -> None:
        """Take the list, then what changed since: signals may be handled before the reply to this call is."""
        self._early = []
        [rows] = await self._call("Subscribe")
        early, self._early = self._early, None
        self._events.publish([tuple(row) for row in rows])
        for changed, removed in early or ():
            self._changed(changed, removed)
        self._subscribed = True
        if self._snapshots:
            self._watch()
        self._pause = _FIRST_PAUSE
        self._events.sharing_state(None)

    def _watch(self) -> None:
        self._watching = self._loop.create_task(self._tell_watch())

    async def _tell_watch(self) -> None:
        """Say whether snapshots are wanted, until what was said last is what is wanted."""
        try:
            said = None
            while said != self._snapshots:
                said = self._snapshots
                await self._call("WatchSnapshots", "b", (said,))
        except (RemoteError, CallTimeout) as error:
            _LOGGER.warning("the agent does not tell of snapshots (%s)", _short(error))
        finally:
            if asyncio.current_task() is self._watching:
                self._watching = None

    def _done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        if not isinstance(error, RemoteError | CallTimeout):
            _LOGGER.error("following the agent failed", exc_info=error)
        self._events.sharing_state(_FAILS.format(_short(error)))
        self._timer = self._loop.call_later(self._pause, self._begin)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def _changed(self, rows: list[Any], removed: list[int]) -> None:
        if self._early is not None:
            self._early.append((rows, removed))
            return
        self._events.publish_changes([tuple(row) for row in rows], removed)

    def _snapshot_changed(self, mission: int) -> None:
        self._events.own_snapshot_changed(mission)


def _agent_error(error: RemoteError | CallTimeout) -> AgentError:
    """Return what the peer is told; never more than that for an error that is none of ours."""
    if isinstance(error, RemoteError):
        known = from_name(error.name, error.text)
        if known is not None:
            return known
    return DistributedServiceFailed("the agent of that host does not answer")


def _short(error: BaseException) -> str:
    return error.name.rpartition(".")[2] if isinstance(error, RemoteError) else type(error).__name__


__all__ = ["NOBODY_SHARES", "AgentFeed", "SharingEvents"]
