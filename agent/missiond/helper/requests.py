# SPDX-License-Identifier: Apache-2.0
"""What may be asked of the helper, and how it is written.

One request or answer is one message of a SOCK_SEQPACKET socket (unix(7)): ASCII words with one space between
them, a path of a cgroup last. Numbers are decimal. Answers are `ok`, or `no` and the name of an errno(3)::

    adjust PID START FROM TO     oom_score_adj of a process from FROM to TO (proc(5))
    signal PID START TERM|KILL   to a process
    thaw INODE PATH              let a frozen cgroup go on (cgroup.freeze)
    kill INODE PATH              SIGKILL to everything in a cgroup (cgroup.kill)
    keep PID START GROUP         a process from its login session into a group that outlives the session
    back PID START INODE PATH    and from there into the session again
    drop INODE PATH              remove such a group, which is empty
    avoid PID START INODE        have systemd-oomd(8) avoid the cgroup of a process
    forget INODE PATH            and avoid it no longer
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from missiond.helper import paths

MAX_MESSAGE = 4400
LOWEST = -900
"""As low as a process may get: at -1000 the kernel could not reclaim it whatever happens."""

_MAX_PID = 2**22
_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,19}", re.ASCII)
_SIGNALS = ("TERM", "KILL")


@dataclass(frozen=True, slots=True)
class Adjust:
    """Change oom_score_adj, if it is `before`."""

    verb: ClassVar[str] = "adjust"

    pid: int
    start_ticks: int
    before: int
    after: int

    def __str__(self) -> str:
        return f"{self.verb} {self.pid} {self.start_ticks} {self.before} {self.after}"


@dataclass(frozen=True, slots=True)
class Signal:
    """Send `name`, TERM or KILL, to a process."""

    verb: ClassVar[str] = "signal"

    pid: int
    start_ticks: int
    name: str

    def __str__(self) -> str:
        return f"{self.verb} {self.pid} {self.start_ticks} {self.name}"


@dataclass(frozen=True, slots=True)
class OfCgroup:
    """About the cgroup at `path` below the root of the hierarchy, if its directory has this inode number."""

    verb: ClassVar[str]

    inode: int
    path: str

    def __str__(self) -> str:
        return f"{self.verb} {self.inode} {self.path}"


@dataclass(frozen=True, slots=True)
class Thaw(OfCgroup):
    """Let it go on."""

    verb: ClassVar[str] = "thaw"


@dataclass(frozen=True, slots=True)
class Kill(OfCgroup):
    """Kill all that is in it."""

    verb: ClassVar[str] = "kill"


@dataclass(frozen=True, slots=True)
class Drop(OfCgroup):
    """Remove it: a group of what is kept, in which nothing is left."""

    verb: ClassVar[str] = "drop"


@dataclass(frozen=True, slots=True)
class Forget(OfCgroup):
    """Take user.oomd_avoid from it."""

    verb: ClassVar[str] = "forget"


@dataclass(frozen=True, slots=True)
class Keep:
    """Move a process out of the login session of its user, into a group of what is kept of that user."""

    verb: ClassVar[str] = "keep"

    pid: int
    start_ticks: int
    group: str

    def __str__(self) -> str:
        return f"{self.verb} {self.pid} {self.start_ticks} {self.group}"


@dataclass(frozen=True, slots=True)
class Back:
    """Move a process that is kept into the session at `path`, if it has this inode number."""

    verb: ClassVar[str] = "back"

    pid: int
    start_ticks: int
    inode: int
    path: str

    def __str__(self) -> str:
        return f"{self.verb} {self.pid} {self.start_ticks} {self.inode} {self.path}"


@dataclass(frozen=True, slots=True)
class Avoid:
    """Give the cgroup of a process user.oomd_avoid, if it has this inode number and no such attribute."""

    verb: ClassVar[str] = "avoid"

    pid: int
    start_ticks: int
    inode: int

    def __str__(self) -> str:
        return f"{self.verb} {self.pid} {self.start_ticks} {self.inode}"


Request = Adjust | Signal | Thaw | Kill | Drop | Forget | Keep | Back | Avoid


def encode(request: Request) -> bytes:
    """Write a request as a message; raises ValueError where it would be none."""
    data = str(request).encode("utf-8", "surrogateescape")
    if parse(data) != request:
        raise ValueError(f"{request!r} can't be asked")
    return data


def parse(data: bytes) -> Request:
    """Read a message; raises ValueError where it is no request, or a number is out of range."""
    if len(data) > MAX_MESSAGE:
        raise ValueError("too long")
    verb, _, rest = data.decode("utf-8", "surrogateescape").partition(" ")
    for kind, check in _OF_CGROUP:
        if verb == kind.verb:
            inode, _, path = rest.partition(" ")
            check(path)
            return kind(_inode(inode), path)
    if verb == Back.verb and len(words := rest.split(" ", 3)) == 4:
        paths.check_session(words[3])
        return Back(*_process(words), _inode(words[2]), words[3])
    words = rest.split(" ")
    if verb == Adjust.verb and len(words) == 4:
        before, after = _number(words[2], -1000, 1000), _number(words[3], LOWEST, 1000)
        return Adjust(*_process(words), before, after)
    if verb == Signal.verb and len(words) == 3 and words[2] in _SIGNALS:
        return Signal(*_process(words), words[2])
    if verb == Keep.verb and len(words) == 3:
        paths.check_group(words[2])
        return Keep(*_process(words), words[2])
    if verb == Avoid.verb and len(words) == 3:
        return Avoid(*_process(words), _inode(words[2]))
    raise ValueError("no such request")


_OF_CGROUP: tuple[tuple[type[Thaw | Kill | Drop | Forget], Callable[[str], None]], ...] = (
    (Thaw, paths.check_below_user),
    (Kill, paths.check_below_user),
    (Drop, paths.check_kept),
    (Forget, paths.check_in_unit),
)


def _process(words: list[str]) -> tuple[int, int]:
    return _number(words[0], 2, _MAX_PID), _number(words[1], 0, 2**64 - 1)


def _inode(text: str) -> int:
    return _number(text, 1, 2**64 - 1)


def _number(text: str, least: int, most: int) -> int:
    if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise ValueError("not a number of that range")
    return int(text)
