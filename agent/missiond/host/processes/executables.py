# SPDX-License-Identifier: Apache-2.0
"""The name of the program of a process, as far as the rights of this process allow."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from missiond.host.processes.procfs import ProcDirectory

SYSTEM_PATH = (
    Path("/usr/local/sbin"),
    Path("/usr/local/bin"),
    Path("/usr/sbin"),
    Path("/usr/bin"),
    Path("/sbin"),
    Path("/bin"),
)
"""The places of system programs; not the PATH of the agent, different from the callers'."""
_COMM_LENGTH = 15
_DELETED = b" (deleted)"


def program_of(process: ProcDirectory) -> str:
    """Return the base name of the executable; without the right to read this, of argv[0], else the comm.

    May hold any character (surrogates for what is not UTF-8). Raises ProcessLookupError.
    """
    try:
        return _text(process.executable().removesuffix(_DELETED).rpartition(b"/")[2])
    except ProcessLookupError:
        # A kernel thread has no executable either.
        return _text(process.name())
    except OSError:
        return _from_argv(process)


def _from_argv(process: ProcDirectory) -> str:
    """argv[0] is the process's own word: believed only where it fits the name that the kernel gave."""
    comm = process.name()
    try:
        argv0 = process.of_program("cmdline", 4096).partition(b"\0")[0].removeprefix(b"-")
    except ProcessLookupError:
        raise
    except OSError:
        argv0 = b""
    base = argv0.rpartition(b"/")[2]
    if not base or base[:_COMM_LENGTH] != comm:
        return _text(comm)
    return resolved(_text(argv0))


def resolved(argv0: str) -> str:
    """Give the base name of the program behind a system-wide name (`sh` may be `dash`).

    Other paths are not looked at: they are the caller's choice, and may lie on a file system that hangs.
    """
    directory, _, base = argv0.rpartition("/")
    if directory and Path(directory) not in SYSTEM_PATH:
        return base
    found = search(base, (Path(directory),) if directory else SYSTEM_PATH)
    return Path(os.path.realpath(found)).name if found else base


def search(name: str, places: Iterable[Path] = SYSTEM_PATH) -> str | None:
    """Find the program to be run: `name` where this is a path, else the first in `places`.

    As shutil.which, whose module brings the decompressors along, for which an agent has no use.
    """
    paths = (Path(name),) if "/" in name else (place / name for place in places)
    return next((str(path) for path in paths if os.access(path, os.X_OK) and path.is_file()), None)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
