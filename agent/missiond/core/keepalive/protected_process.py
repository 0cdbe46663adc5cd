# SPDX-License-Identifier: Apache-2.0
"""A process kept alive as the owner of continuous tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

from missiond.core.keepalive.inherited_scores import Key
from missiond.core.keepalive.oom_ledger import ScoreRaise
from missiond.core.schema import U64, Range


class Cgroup(NamedTuple):
    """A path below the root of the hierarchy, and the inode number, different for a later cgroup."""

    inode: Annotated[int, Range(0, U64)]
    path: str


@dataclass(slots=True, eq=False)
class ProtectedProcess:
    """One owner with all tasks (a ward).

    `cgroup` is where it was when its first task began, `since` clock ticks after boot. What was done for its
    sake, and is to be undone, is in `mark` (the cgroup that systemd-oomd is to avoid), `home` (the login
    session that it was taken out of), `pinned` (its user's session is held) and `debt`, processes whose
    oom_score_adj is to be raised again. `refused` are processes whose oom_score_adj can't be changed, and
    `missing` the parts of keep-alive that could not be done, each with what people are told of it.
    """

    number: int
    pid: int
    start_ticks: int
    uid: int
    cgroup: str
    since: int
    tasks: set[int] = field(default_factory=set)
    covered: bool = False
    mark: Cgroup | None = None
    home: Cgroup | None = None
    pinned: bool = False
    debt: list[ScoreRaise] = field(default_factory=list)
    refused: set[Key] = field(default_factory=set)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """Pid and start time."""
        return self.pid, self.start_ticks

    @property
    def group(self) -> str:
        """Name of the ward's group out of the session."""
        return f"{self.pid}-{self.start_ticks}"
