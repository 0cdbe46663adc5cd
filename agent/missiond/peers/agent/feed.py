# SPDX-License-Identifier: Apache-2.0
"""The agent as a source: the shared missions of this host, and the answers to questions of peers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.bus.library import Variant
from missiond.bus.service_follower import ServiceFollower
from missiond.bus.variants import unwrap, variant
from missiond.bus_names import BUS_NAME, MANAGER_PATH, SHARING
from missiond.common.admission import Admission
from missiond.common.log_limiter import LogLimiter
from missiond.core.link.message_types import INFO
from missiond.core.link.values import SIGNATURES, Values
from missiond.errors import AgentError, DistributedServiceFailed, from_name

if TYPE_CHECKING:
    from missiond.peers.unit import PeerUnit

NOBODY_SHARES = "the agent is not there: no missions of this host are shared"
_FAILS = "the agent does not share its missions ({})"
_GRACE_SECONDS = 60.0
"""A restart of the agent is nothing to tell peers about; a longer absence is."""
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 300.0
_SECONDS = 8.0
_AT_ONCE = 32
_DICTIONARY = "a{sv}"

_LOGGER = logging.getLogger(__name__)
_limited = LogLimiter(_LOGGER)


class AgentFeed:
    """Follows the agent through restarts, and publishes the shared missions to the unit given to `start`.

    `connection` owns no name. `on_state` gets a sentence for people where the feed fails, None where all is
    well.
    """

    def __init__(self, connection: Connection, on_state: Callable[[str | None], None]) -> None:
        self._connection = connection
        self._on_state = on_state
        self._unit: PeerUnit
        self._follower = ServiceFollower(
            connection,
            BUS_NAME,
            MANAGER_PATH,
            SHARING,
            self,
            {"Changed": self._changed, "SnapshotChanged": self._snapshot_changed},
            (_FIRST_PAUSE, _LONGEST_PAUSE),
        )
        self._rows: list[Any] = []
        self._grace: asyncio.TimerHandle | None = None
        self._questions = Admission(
            lambda: DistributedServiceFailed("this host is asked for too much at a time; ask again"),
            most=_AT_ONCE,
        )
        self._snapshots = False
        self._watching: asyncio.Task[None] | None = None

    async def start(self, unit: PeerUnit) -> None:
        """Begin to follow the agent."""
        self._unit = unit
        await self._follower.start()
        if not self._follower.owner:
            self.left(was_ready=False, owner="")

    def close(self) -> None:
        """End to follow the agent."""
        self._follower.close()
        self._cancel()

    def watch_snapshots(self, *, on: bool) -> None:
        """Begin or stop to follow new snapshots of shared missions."""
        self._snapshots = on
        if self._follower.ready and self._watching is None:
            self._watch()

    async def ask(self, what: str, mission: int) -> Values:
        """Return the answer of the agent about a mission; raises AgentError."""
        with self._questions.place():
            try:
                [found] = await self._call("Info" if what == INFO else "Snapshot", "u", (mission,))
            except (RemoteError, CallTimeout) as error:
                raise _agent_error(error) from None
            return from_bus(found)

    async def hand_over(
        self, device_id: str, transfer: str, step: str, body: str, permissions: Sequence[str]
    ) -> None:
        """Give the agent a hand-over message of a peer; raises AgentError where the agent refuses."""
        arguments = (device_id, transfer, step, body, list(permissions))
        try:
            await self._call("HandOver", "ssssas", arguments)
        except (RemoteError, CallTimeout) as error:
            raise _agent_error(error) from None

    async def _call(self, member: str, signature: str = "", body: Sequence[Any] = ()) -> list[Any]:
        return await self._connection.call(
            BUS_NAME, MANAGER_PATH, SHARING, member, signature, body, timeout=_SECONDS, no_auto_start=True
        )

    # --- the ServiceReader

    async def read(self) -> None:
        """Subscribe to the list of shared missions."""
        [self._rows] = await self._call("Subscribe")

    def told(self) -> None:
        """Publish the list."""
        rows, self._rows = self._rows, []
        self._unit.publish([tuple(row) for row in rows])
        if self._snapshots:
            self._watch()
        self._on_state(None)

    def failed(self, error: Exception) -> None:
        """Tell people about the failure."""
        self._on_state(_FAILS.format(_short(error)))

    def left(self, *, was_ready: bool, owner: str) -> None:
        """Publish an empty list after a grace period unless the agent has a successor."""
        self._cancel()
        if not owner:
            self._on_state(NOBODY_SHARES)
            self._grace = asyncio.get_running_loop().call_later(_GRACE_SECONDS, self._unit.publish, ())

    def _cancel(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None

    def _changed(self, rows: list[Any], removed: list[int]) -> None:
        self._unit.publish_changes([tuple(row) for row in rows], removed)

    def _snapshot_changed(self, mission: int) -> None:
        self._unit.links.snapshot_changed(mission)

    def _watch(self) -> None:
        self._watching = asyncio.get_running_loop().create_task(self._tell_watch())

    async def _tell_watch(self) -> None:
        """Tell the agent whether snapshots are wanted, until the last word said still holds."""
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


def from_bus(details: Mapping[str, Variant]) -> Values:
    """Return an `a{sv}` as values for a peer, without values of other types."""
    values: Values = {}
    for key, each in details.items():
        if each.signature == _DICTIONARY:
            values[key] = (_DICTIONARY, from_bus(each.value))
        elif each.signature in SIGNATURES:
            values[key] = (each.signature, unwrap(each.value))
        else:
            _limited.warning("%s of a mission is of type %s, which does not travel", key, each.signature)
    return values


def to_bus(values: Values) -> dict[str, Variant]:
    """Return values of a peer as an `a{sv}`."""
    return {
        key: variant(signature, to_bus(value) if signature == _DICTIONARY else value)
        for key, (signature, value) in values.items()
    }


def _agent_error(error: RemoteError | CallTimeout) -> AgentError:
    """Return the error for a peer, without details where the agent raised none of ours."""
    if isinstance(error, RemoteError):
        known = from_name(error.name, error.text)
        if known is not None:
            return known
    return DistributedServiceFailed("the agent of that host does not answer")


def _short(error: BaseException) -> str:
    return error.name.rpartition(".")[2] if isinstance(error, RemoteError) else type(error).__name__
