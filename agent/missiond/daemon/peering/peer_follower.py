# SPDX-License-Identifier: Apache-2.0
"""The peer unit (missiond-peers.service) in view of the agent, and sentences about an absent unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.bus.service_follower import FIRST_PAUSE, LONGEST_PAUSE, ServiceFollower, ServiceReader
from missiond.errors import AgentError, DistributedServiceFailed, from_name
from missiond.host.systemd import peer_service
from missiond.host.systemd.peer_service import PeerServiceState

NAME = "org.missiond.Peers1"
PATH = "/org/missiond/Peers1"
INTERFACE = "org.missiond.Peers1"

PATIENCE = 20.0
"""Seconds for an answer of the unit, less than clients wait for one of the agent."""

_OFF = "peers are off on this host; an administrator turns them on with `missionctl peers enable`"
_STARTS = "the peer unit is starting; ask again in a moment, or see `systemctl status missiond-peers`"
STARTS_NOT = "the peer unit failed: see `systemctl status missiond-peers`"
_HANGS = "the peer unit does not answer; see `journalctl -u missiond-peers`"
_FAILS = "the peer unit failed ({}); see `journalctl -u missiond-peers`"


def off() -> AgentError:
    """Return the error for a unit turned off."""
    return DistributedServiceFailed(_OFF)


async def absent(connection: Connection) -> AgentError:
    """Return the error for a unit not on the bus: off, starting or failed."""
    state = await peer_service.look(connection)
    sentences = {
        PeerServiceState.OFF: _OFF,
        PeerServiceState.STARTING: _STARTS,
        PeerServiceState.FAILED: STARTS_NOT,
    }
    return DistributedServiceFailed(sentences[state])


def hangs() -> AgentError:
    """Return the error for a unit without an answer."""
    return DistributedServiceFailed(_HANGS)


def translated(error: RemoteError, *, there: bool) -> AgentError:
    """Return the AgentError for an error of the unit, the unit's own unchanged; `there`: the unit runs."""
    ours = from_name(error.name, error.text)
    if ours is not None:
        return ours
    return DistributedServiceFailed(_FAILS.format(error.name.rpartition(".")[2])) if there else off()


def failure(error: Exception) -> str:
    """Return the sentence for people about a failure to read the unit."""
    return _HANGS if isinstance(error, CallTimeout) else _FAILS.format(error)


class PeerFollower(ServiceFollower):
    """Follows the peer unit for one reader."""

    def __init__(
        self, connection: Connection, reader: ServiceReader, signals: Mapping[str, Callable[..., None]]
    ) -> None:
        super().__init__(connection, NAME, PATH, INTERFACE, reader, signals, (FIRST_PAUSE, LONGEST_PAUSE))
        self._bus = connection

    async def reach(self) -> None:
        """Return once the unit is read; raises DistributedServiceFailed."""
        if not self.owner:
            raise await absent(self._bus)
        if not await self.until_ready(PATIENCE):
            raise hangs() if self.owner else await absent(self._bus)
