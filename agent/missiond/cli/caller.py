# SPDX-License-Identifier: Apache-2.0
"""Default owner of `missionctl delay`: the calling shell.

What stands between that shell and missionctl ends with missionctl: programs that start others and wait, and
the copies that a shell makes of itself for `$(...)`, `(...)` and the parts of a pipe.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import NamedTuple

from missiond.host.processes.stat import Stat, read

_SHELLS = re.compile("-?((r?ba|da|fi|k|lk|mk|ya|z|t?c|po|pw|o|a|xon)?sh|ksh93|elvish|busybox|ion|nu|rc)")
_WRAPPERS = re.compile(
    "(sudo|su)(-rs)?|sudoedit|doas|runuser|pkexec|run0|setpriv|chroot|unshare|nsenter|timeout|xargs|parallel|env"
    "|nice|nohup|time|stdbuf|setsid|script|flock|ionice|chrt|taskset|choom|prlimit|watch|find|strace|ltrace"
    "|unbuffer|expect|faketime|fakeroot|firejail|bwrap|dbus-run-sessio|ssh-agent|systemd-inhibit"
)
"""Names as the kernel has them, of at most 15 bytes."""


class CallingShell(NamedTuple):
    """Owner of a task: `pid`, name, and whether the process is a shell."""

    pid: int
    name: str
    is_shell: bool


def caller(pid: int | None = None, look: Callable[[int], Stat] = read) -> CallingShell:
    """Return the first process above this one (or `pid`) with a longer life than missionctl."""
    first = os.getppid() if pid is None else pid
    at = first
    try:
        while at > 1:
            stat = look(at)
            name = stat.name.decode(errors="replace")
            if not _WRAPPERS.fullmatch(name) and not _is_copy(stat, look):
                return CallingShell(at, name, _SHELLS.fullmatch(name) is not None)
            at = stat.parent
    except (ProcessLookupError, OSError, ValueError):  # no /proc, or it hides them
        pass
    return CallingShell(first, "process", is_shell=False)


def _is_copy(stat: Stat, look: Callable[[int], Stat]) -> bool:
    """Whether a process is a copy of its parent that has executed nothing since.

    Its arguments are where the parent's are then, which those of another program are not.
    """
    if not stat.arguments_at or stat.parent <= 1:
        return False
    parent = look(stat.parent)
    return (parent.name, parent.arguments_at) == (stat.name, stat.arguments_at)
