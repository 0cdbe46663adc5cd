# SPDX-License-Identifier: Apache-2.0
"""A host that shares its missions: what it publishes, what it knows of others, and what it was told."""

from __future__ import annotations

from dataclasses import dataclass, field

from missiond.core.link.message_types import Hello
from missiond.core.missions.missions import Row
from missiond.core.sync.events import Reply
from missiond.core.sync.replica import Replica
from missiond.core.sync.session import Session
from missiond.core.sync.versioned_list import VersionedList
from missiond.errors import AgentError, MissionNotFound
from standins.worlds.clock import FakeClock

TOMBSTONES = 4
SILENT = "never answers"

Rows = dict[int, Row]


def mission(number: int, label: str = "x", tag: int = 0) -> Row:
    return (number, label, "", "app", number, 1000, "running", False, False, tag, 7)


def device(name: str) -> str:
    return (name.encode().hex() * 64)[:64]


def only(rows: Rows, tag: int) -> Rows:
    return {number: row for number, row in rows.items() if tag in (0, row[9])}


@dataclass
class Known:
    """What a host knows of a peer, whatever becomes of links."""

    view: Replica = field(default_factory=Replica)
    wish: tuple[int, bool] | None = None
    snapshots: bool = False
    permitted: bool = True
    """Whether the peer may see the host's list."""
    shown: tuple[bool, Rows] = (False, {})
    """As of the latest list_changed."""
    withheld: bool = False
    """Whether the peer has refused the list since then."""
    latest: tuple[int, int] = (-1, -1)
    """Generation of the list and seq, the highest so far."""
    vanished: set[int] = field(default_factory=set)
    """Missions that were shown and then were not."""

    def forget(self) -> None:
        self.shown, self.latest, self.vanished = (False, {}), (-1, -1), set()


class Host:
    def __init__(self, name: str, versions: tuple[int, int]) -> None:
        self.name = name
        self.versions = versions
        self.clock = FakeClock()
        self.rows: Rows = {}
        self.numbers = 0
        self.known: dict[str, Known] = {}
        self.sessions: dict[str, Session] = {}
        self.ears: dict[str, Ear] = {}
        self.published: VersionedList

    def publish(self, list_id: int) -> None:
        """Start the peer unit: whatever was counted before, nobody knows."""
        self.published = VersionedList(list_id, TOMBSTONES)
        self.published.replace(self.rows.values())

    def begin(self, count: int, tag: int, label: str) -> list[Row]:
        """Start missions; ids are not used again."""
        new = [mission(self.numbers + 1 + n, label, tag) for n in range(count)]
        self.numbers += count
        self.rows.update({row[0]: row for row in new})
        return new


@dataclass
class Ear:
    """What a session tells its host."""

    host: Host
    peer: str
    refused: list[AgentError] = field(default_factory=list)
    snapshots: list[int] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    ups: int = 0
    wanted: bool = False

    def up(self, hello: Hello) -> None:
        assert hello.device == device(self.peer)
        self.ups += 1

    def renamed(self, name: str) -> None:
        raise AssertionError(f"nobody here is renamed to {name}")

    def agent_back(self) -> None:
        raise AssertionError("nobody here has an agent")

    def list_changed(self) -> None:
        known = self.host.known[self.peer]
        now = (known.view.complete, {row[0]: row for row in known.view.rows()})
        assert now != known.shown or known.withheld, "told of a change that is none"
        assert not known.view.refused
        known.shown, known.withheld = now, False

    def snapshot_changed(self, mission: int) -> None:
        assert mission in self.host.known[self.peer].view
        self.snapshots.append(mission)

    def sync_refused(self, error: AgentError) -> None:
        self.refused.append(error)
        self.host.known[self.peer].withheld = True

    def asked(self, what: str, mission: int, reply: Reply) -> None:
        assert self.host.known[self.peer].permitted
        row = self.host.rows.get(mission)
        if row is None:
            reply(MissionNotFound(f"there is no mission {mission}"))
        elif row[1] != SILENT:
            reply({what: ("s", row[1]), "mission_id": ("u", mission)})

    def snapshots_wanted(self, *, on: bool) -> None:
        assert on != self.wanted
        self.wanted = on

    def closed(self, reason: str, *, broken: bool) -> None:
        assert not broken, reason
        assert not self.wanted
        self.ended.append(reason)
        assert len(self.ended) == 1
