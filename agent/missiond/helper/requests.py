# SPDX-License-Identifier: Apache-2.0
"""The requests to the helper, and the format of messages.

One request or answer is one message of a SOCK_SEQPACKET socket (unix(7)): ASCII words with one space between
them, a path of a cgroup last. Numbers are decimal. Answers are `ok`, or `no` and the name of an errno(3)::

    adjust PID START FROM TO     oom_score_adj of a process from FROM to TO (proc(5))
    raise PID START LEAST        to LEAST where it is less; its user can't lower it below that
    signal PID START NAME        TERM, CONT or KILL to a process
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
from dataclasses import dataclass, fields
from typing import ClassVar

from missiond.helper import paths

MAX_MESSAGE = 4400
LOWEST = -900
"""The lowest score of a process: at -1000 the kernel could never reclaim memory."""

_MAX_PID = 2**22
_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,19}", re.ASCII)
_SIGNALS = ("TERM", "CONT", "KILL")


@dataclass(frozen=True, slots=True)
class Asked:
    """The base of requests: a verb, and the fields in the order of the message."""

    verb: ClassVar[str]

    def __str__(self) -> str:
        return " ".join([self.verb, *(str(getattr(self, field.name)) for field in fields(self))])


@dataclass(frozen=True, slots=True)
class Adjust(Asked):
    """A change of oom_score_adj from `before` to `after`."""

    verb: ClassVar[str] = "adjust"

    pid: int
    start_ticks: int
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Raise(Asked):
    """A raise of oom_score_adj, and of the user's own limit, to `least`; a higher score stays."""

    verb: ClassVar[str] = "raise"

    pid: int
    start_ticks: int
    least: int


@dataclass(frozen=True, slots=True)
class Signal(Asked):
    """Send `name`, TERM, CONT or KILL, to a process."""

    verb: ClassVar[str] = "signal"

    pid: int
    start_ticks: int
    name: str


@dataclass(frozen=True, slots=True)
class OfCgroup(Asked):
    """A request about the cgroup at `path` below the root, if the directory has this inode number."""

    inode: int
    path: str


@dataclass(frozen=True, slots=True)
class Thaw(OfCgroup):
    """A thaw of the cgroup."""

    verb: ClassVar[str] = "thaw"


@dataclass(frozen=True, slots=True)
class Kill(OfCgroup):
    """A kill of all in the cgroup."""

    verb: ClassVar[str] = "kill"


@dataclass(frozen=True, slots=True)
class Drop(OfCgroup):
    """The removal of an empty kept group."""

    verb: ClassVar[str] = "drop"


@dataclass(frozen=True, slots=True)
class Forget(OfCgroup):
    """The removal of user.oomd_avoid from the cgroup."""

    verb: ClassVar[str] = "forget"


@dataclass(frozen=True, slots=True)
class Keep(Asked):
    """A move of a process out of the user's login session, into a kept group of the user."""

    verb: ClassVar[str] = "keep"

    pid: int
    start_ticks: int
    group: str


@dataclass(frozen=True, slots=True)
class Back(Asked):
    """A move of a kept process into the session at `path`, if this has the inode number."""

    verb: ClassVar[str] = "back"

    pid: int
    start_ticks: int
    inode: int
    path: str


@dataclass(frozen=True, slots=True)
class Avoid(Asked):
    """A mark user.oomd_avoid for the cgroup of a process, if the inode number fits and there is no mark."""

    verb: ClassVar[str] = "avoid"

    pid: int
    start_ticks: int
    inode: int


Request = Adjust | Raise | Signal | Thaw | Kill | Drop | Forget | Keep | Back | Avoid


def encode(request: Request) -> bytes:
    """Encode a request as a message; raises ValueError for an invalid one."""
    data = str(request).encode("utf-8", "surrogateescape")
    if parse(data) != request:
        raise ValueError(f"{request!r} can't be asked")
    return data


def parse(data: bytes) -> Request:
    """Parse a message; raises ValueError where there is no request, or a number out of range."""
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
    found = _of_score(verb, words)
    if found is not None:
        return found
    if verb == Signal.verb and len(words) == 3 and words[2] in _SIGNALS:
        return Signal(*_process(words), words[2])
    if verb == Keep.verb and len(words) == 3:
        paths.check_group(words[2])
        return Keep(*_process(words), words[2])
    if verb == Avoid.verb and len(words) == 3:
        return Avoid(*_process(words), _inode(words[2]))
    raise ValueError("no such request")


def _of_score(verb: str, words: list[str]) -> Adjust | Raise | None:
    if verb == Adjust.verb and len(words) == 4:
        return Adjust(*_process(words), _number(words[2], -1000, 1000), _number(words[3], LOWEST, 1000))
    if verb == Raise.verb and len(words) == 3:
        return Raise(*_process(words), _number(words[2], -1000, 1000))
    return None


_OF_CGROUP: tuple[tuple[type[Thaw | Kill | Drop | Forget], Callable[[str], None]], ...] = (
    (Thaw, paths.check_below_user),
    (Kill, paths.check_killable),
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
