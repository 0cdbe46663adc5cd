# SPDX-License-Identifier: Apache-2.0
"""What may be asked of the helper, and how it is written.

One request or answer is one message of a SOCK_SEQPACKET socket (unix(7)): ASCII words with one space between
them, a path of a cgroup last. Numbers are decimal. Answers are `ok`, or `no` and the name of an errno(3)::

    adjust PID START FROM TO     oom_score_adj of a process from FROM to TO (proc(5))
    signal PID START NAME        TERM, CONT or KILL to a process
    thaw INODE PATH              let a frozen cgroup go on (cgroup.freeze)
    kill INODE PATH              SIGKILL to everything in a cgroup (cgroup.kill)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

MAX_MESSAGE = 4400
LOWEST = -900
"""As low as a process may get: at -1000 the kernel could not reclaim it whatever happens."""

_MAX_PID = 2**22
_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,19}", re.ASCII)
_SIGNALS = ("TERM", "CONT", "KILL")


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
    """Send `name`, TERM, CONT or KILL, to a process."""

    verb: ClassVar[str] = "signal"

    pid: int
    start_ticks: int
    name: str

    def __str__(self) -> str:
        return f"{self.verb} {self.pid} {self.start_ticks} {self.name}"


@dataclass(frozen=True, slots=True)
class Thaw:
    """Thaw the cgroup at `path` below the root of the hierarchy, if its directory has this inode number."""

    verb: ClassVar[str] = "thaw"

    inode: int
    path: str

    def __str__(self) -> str:
        return f"{self.verb} {self.inode} {self.path}"


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill all of the cgroup at `path` below the root of the hierarchy, if it has this inode number."""

    verb: ClassVar[str] = "kill"

    inode: int
    path: str

    def __str__(self) -> str:
        return f"{self.verb} {self.inode} {self.path}"


Request = Adjust | Signal | Thaw | Kill


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
    if verb in (Thaw.verb, Kill.verb):
        inode, _, path = rest.partition(" ")
        _check_path(path)
        kind = Thaw if verb == Thaw.verb else Kill
        return kind(_number(inode, 1, 2**64 - 1), path)
    words = rest.split(" ")
    if verb == Adjust.verb and len(words) == 4:
        before, after = _number(words[2], -1000, 1000), _number(words[3], LOWEST, 1000)
        return Adjust(*_process(words), before, after)
    if verb == Signal.verb and len(words) == 3 and words[2] in _SIGNALS:
        return Signal(*_process(words), words[2])
    raise ValueError("no such request")


def _process(words: list[str]) -> tuple[int, int]:
    return _number(words[0], 2, _MAX_PID), _number(words[1], 0, 2**64 - 1)


def _number(text: str, least: int, most: int) -> int:
    if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise ValueError("not a number of that range")
    return int(text)


def _check_path(path: str) -> None:
    """user.slice itself, and a user's slice, are everybody's or all that a user has: only what is below."""
    parts = path.split("/")
    if len(parts) < 3 or parts[0] != "user.slice" or "\0" in path:
        raise ValueError("not below a slice of user.slice")
    if any(part in ("", ".", "..") or len(part.encode("utf-8", "surrogateescape")) > 255 for part in parts):
        raise ValueError("not a plain path")
