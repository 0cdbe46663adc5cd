# SPDX-License-Identifier: Apache-2.0
"""The machine of a state directory: the identity of a host must not be copied to another.

Disk images and clones carry the whole of /var along, but each machine gets an id of its own (machine-id(5)).
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from missiond.store import safe_files

MACHINE_ID = Path("/etc/machine-id")
MARK = "machine"
COPIED = "copied"
"""Name, before a number, of directories for files set aside."""
_KEY = b"missiond state directory"
_LIMIT = 4096
_LOGGER = logging.getLogger(__name__)


def set_aside_copies(directory: Path, names: Sequence[str], machine_id: Path = MACHINE_ID) -> list[str]:
    """Set aside files and directories of another machine, and return the moved names.

    Done once on each machine: a state directory without a mark is taken to be this machine's. Raises OSError.
    """
    now = _this_machine(machine_id)
    if now is None:
        return []
    try:
        before = safe_files.read_regular(directory / MARK, _LIMIT)
    except FileNotFoundError:
        before = now
    moved = []
    if before != now:
        moved = [name for name in names if (directory / name).exists()]
        _move(directory, moved)
    if before != now or not (directory / MARK).exists():
        safe_files.replace(str(directory / MARK), now)
    return moved


def start_without_copies(directory: Path, names: Sequence[str]) -> None:
    """Set aside copies at the start of a service and log the result; an error is no hindrance."""
    try:
        copied = set_aside_copies(directory, names)
    except OSError as error:
        _LOGGER.warning("%s can't be kept apart from other machines' (%s)", directory, error.strerror)
        return
    if copied:
        _LOGGER.warning(
            "%s came from another machine: set aside in %s, and not taken up here",
            ", ".join(copied),
            directory,
        )


def _move(directory: Path, names: Sequence[str]) -> None:
    if not names:
        return
    numbers = itertools.count(1)
    aside = next(path for number in numbers if not (path := directory / f"{COPIED}-{number}").exists())
    aside.mkdir(mode=0o700)
    for name in names:
        (directory / name).rename(aside / name)


def _this_machine(file: Path) -> bytes | None:
    """Return a digest of the machine id, which is secret, or None where it is not there to stay."""
    try:
        if _is_mounted(file):
            return None  # systemd has put one of this boot alone over a file that it can't write
        found = safe_files.read_regular(file, _LIMIT).strip()
    except OSError as error:
        _LOGGER.debug("%s can't be read: %s", file, os.strerror(error.errno or 0))
        return None
    if len(found) != 32:  # empty or "uninitialized": the first boot is still going on
        return None
    return hashlib.sha256(_KEY + found).hexdigest().encode()


def _is_mounted(file: Path) -> bool:
    """Whether it is a mount by itself; st_dev does not tell on an overlay (proc_pid_mountinfo(5))."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="ascii", errors="replace").splitlines()
    return any(line.split(" ")[4] == str(file) for line in lines)
