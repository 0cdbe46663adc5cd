# SPDX-License-Identifier: Apache-2.0
"""Missions: the programs of people on this host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated

from missiond.core.json_types import Count, Uid
from missiond.core.schema import I32, I63, Later, Range, Unwritten
from missiond.errors import InvalidParameter, MissionNotFound

RUNNING = "running"
FROZEN = "frozen"
_CLOCK_WAS_SET = 1_000_000
"""µs; less is what the clocks of a host differ by anyhow."""

Row = tuple[int, str, str, str, int, int, str, bool, bool, int, int]
"""A mission as a row of GetMissionInfos: `(usssuusbbit)`."""


@dataclass(frozen=True, slots=True)
class Leader:
    """The process at the head of a mission; the start time tells a later process with the same pid apart."""

    pid: Count
    start_ticks: Annotated[int, Range(0, I63)]


@dataclass(frozen=True, slots=True)
class Sighting:
    """A mission as shown by the host.

    `key` names it among those that exist at one time. `started` is µs since the epoch. `cgroup` is a path
    below the mount of the unified hierarchy, `session` an id of logind's; each is empty where unknown.
    """

    key: str
    leader: Leader
    uid: Uid
    app_id: str
    label: str
    icon: str
    started: Annotated[int, Range(0, I63)]
    cgroup: Later[str] = ""
    unit: Later[str] = ""
    session: Later[str] = ""
    state: Later[str] = RUNNING
    system: Later[bool] = False
    """Whether the host's own service manager runs the mission, outside the slice of any user."""

    def steadied(self, before: Sighting) -> Sighting:
        """Return the sighting with the start time of before, since two clocks make a new one each time.

        It is another one only where the process is, or where the clock was set meanwhile.
        """
        if self.leader != before.leader or abs(self.started - before.started) >= _CLOCK_WAS_SET:
            return self
        return replace(self, started=before.started)


@dataclass(frozen=True, slots=True)
class Registration:
    """A program's own description, from RegisterMission; empty values say nothing."""

    label: Later[str] = ""
    icon: Later[str] = ""
    argv: Later[tuple[str, ...]] = ()
    cwd: Later[str] = ""
    environment: Later[tuple[str, ...]] = ()
    continuable: Later[bool] = False
    tag: Later[Annotated[int, Range(-I32 - 1, I32)]] = 0
    relaunch: Later[bool] = False
    """Whether the user allows a new start elsewhere without a state."""
    properties: Later[tuple[str, ...]] = ()
    state_directory: Later[str] = ""
    dropped: Later[tuple[str, ...]] = ()
    """Registered variables left behind on a move."""
    connection: Later[str] = ""
    """Unique name of the registering bus connection."""
    origin: Later[str] = ""
    """The device of before."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Mission:
    """One mission; `id` is unique for as long as the host is up."""

    id: Unwritten[int]
    seen: Sighting
    locked: bool = False
    registration: Registration | None = None
    found: bool = True
    """Whether the host shows the mission without a registration."""
    registrant: Later[Leader | None] = None
    """The registered process, perhaps another than the leader by now."""
    kill_at: int | None = None
    """Time of SIGKILL for the rest, in ms of CLOCK_MONOTONIC; None where nobody asked for the end."""

    @property
    def uid(self) -> int:
        """Uid of the user."""
        return self.seen.uid

    @property
    def label(self) -> str:
        """Name for people."""
        return (self.registration and self.registration.label) or self.seen.label

    @property
    def icon(self) -> str:
        """Name or path of an icon, or empty."""
        return (self.registration and self.registration.icon) or self.seen.icon

    @property
    def continuable(self) -> bool:
        """Whether the program can continue elsewhere, or the user allows a new start there."""
        return self.registration is not None and (self.registration.continuable or self.registration.relaunch)

    @property
    def tag(self) -> int:
        """Chosen by the program; 0 by default."""
        return self.registration.tag if self.registration is not None else 0

    @property
    def row(self) -> Row:
        """The row for a list."""
        seen = self.seen
        return (
            self.id, self.label, self.icon, seen.app_id, seen.leader.pid, seen.uid, seen.state,
            self.locked, self.continuable, self.tag, seen.started,
        )  # fmt: skip


class MissionTable:
    """The missions by id, key and leader."""

    def __init__(self) -> None:
        self._by_id: dict[int, Mission] = {}
        self._by_key: dict[str, Mission] = {}
        self._by_leader: dict[Leader, list[Mission]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Mission]:
        return iter(list(self._by_id.values()))

    def __contains__(self, mission_id: int) -> bool:
        return mission_id in self._by_id

    def add(self, mission: Mission) -> None:
        """Add a new mission; raises ValueError where the id or key is taken."""
        if mission.id in self._by_id or mission.seen.key in self._by_key:
            raise ValueError(f"mission {mission.id} ({mission.seen.key}) is there already")
        self._by_id[mission.id] = mission
        self._index(mission)

    def remove(self, mission: Mission) -> None:
        """Take one out."""
        del self._by_id[mission.id]
        self._unindex(mission)

    def update(self, mission: Mission, seen: Sighting) -> None:
        """Replace the sighting of a mission, perhaps with another key or leader; the id stays.

        Raises ValueError where the key is another's.
        """
        if self._by_key.get(seen.key, mission) is not mission:
            raise ValueError(f"mission {mission.id} can't be {seen.key}, which is there already")
        self._unindex(mission)
        mission.seen = seen
        self._index(mission)

    def with_key(self, key: str) -> Mission | None:
        """Return the one of this key."""
        return self._by_key.get(key)

    def led_by(self, leader: Leader) -> Mission | None:
        """Return a mission led by this process, of several the oldest known."""
        return next(iter(self._by_leader.get(leader, ())), None)

    def find(self, mission_id: int) -> Mission:
        """Return the one of this id; raises InvalidParameter for 0, MissionNotFound."""
        if mission_id == 0:
            raise InvalidParameter("mission ids start at 1")
        mission = self._by_id.get(mission_id)
        if mission is None:
            raise MissionNotFound(f"there is no mission {mission_id} on this host; list them again")
        return mission

    def of(self, uid: int | None) -> list[Mission]:
        """Return the missions of a user by id; None means everybody."""
        found = (mission for mission in self._by_id.values() if uid is None or mission.uid == uid)
        return sorted(found, key=lambda mission: mission.id)

    def _index(self, mission: Mission) -> None:
        self._by_key[mission.seen.key] = mission
        self._by_leader.setdefault(mission.seen.leader, []).append(mission)

    def _unindex(self, mission: Mission) -> None:
        del self._by_key[mission.seen.key]
        led = self._by_leader[mission.seen.leader]
        led.remove(mission)
        if not led:
            del self._by_leader[mission.seen.leader]


@dataclass(slots=True)
class Listeners:
    """The listeners to changes, and the users with changes not told yet."""

    users: dict[str, int] = field(default_factory=dict)
    """Unique bus name to uid."""
    changed: set[int] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.users)

    def note(self, uid: int) -> bool:
        """Note a change at this user; true where somebody will have to be told."""
        if not any(sees(listener, uid) for listener in self.users.values()):
            return False
        self.changed.add(uid)
        return True

    def take(self) -> list[str]:
        """Return the listeners to tell now, each once, however many changes there are."""
        changed, self.changed = self.changed, set()
        return [name for name, uid in self.users.items() if any(sees(uid, owner) for owner in changed)]

    def concerned(self, uids: Iterable[int]) -> list[str]:
        """Return the listeners with a view of one of these users."""
        owners = set(uids)
        return [name for name, uid in self.users.items() if any(sees(uid, owner) for owner in owners)]


def sees(uid: int, owner: int) -> bool:
    """Whether a user sees another's missions without being asked for a permission."""
    return uid in (0, owner)
