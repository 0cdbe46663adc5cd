# SPDX-License-Identifier: Apache-2.0
"""Packages of this host's repositories, by program.

From what is on the host already: the database of command-not-found, where that is installed, and, for what it
has nothing about, such as other repositories than Debian's, the names of packages, which say less: a program
of a package with another name is not found. PackageKit could not say more: with apt its SearchFiles looks
through what is installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

DATABASE = Path("/var/lib/command-not-found/commands.db")
APT_CACHE = ("/usr/bin/apt-cache", "--quiet", "policy", "--")
TIMEOUT = 10.0
"""Seconds for one answer; apt may have to build a cache first."""

_PLACES = frozenset({"/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/games"})
"""Where programs of packages are."""
_QUERY = (
    "SELECT packages.name FROM commands JOIN packages ON packages.pkgID = commands.pkgID "
    "WHERE commands.command = ? ORDER BY packages.priority DESC, packages.name LIMIT 1"
)
_KNOWN = "SELECT 1 FROM packages WHERE name = ? LIMIT 1"
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,127}", re.ASCII)
_POLICY = re.compile(r"^  (Installed|Candidate): (.*)$", re.MULTILINE)
_ABSENT = "(none)"


async def package_with(
    program: str, database: Path = DATABASE, apt_cache: Sequence[str] = APT_CACHE
) -> str | None:
    """Name a package with a program, given by path; None where none is known."""
    path = Path(program)
    if str(path.parent) not in _PLACES:
        return None
    found, known = await asyncio.to_thread(_look_up, path.name, database)
    if found is not None or known:
        return found
    if _PACKAGE.fullmatch(path.name) and await _can_be_installed(path.name, apt_cache):
        return path.name
    return None


def _look_up(command: str, database: Path) -> tuple[str | None, bool]:
    """Return a package with this command, and whether there is a package of that name (without it)."""
    import sqlite3  # noqa: PLC0415  (a megabyte, for what is rarely asked)

    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=1)
        ) as connection:
            row = connection.execute(_QUERY, (command,)).fetchone()
            known = connection.execute(_KNOWN, (command,)).fetchone() is not None
    except sqlite3.Error:  # not there, none of its files, or being written
        return None, False
    found = row[0] if row and isinstance(row[0], str) and _PACKAGE.fullmatch(row[0]) else None
    return found, known


async def _can_be_installed(name: str, apt_cache: Sequence[str]) -> bool:
    """Whether it is a package, not only a name that others provide, and not here without the program."""
    try:
        process = await asyncio.create_subprocess_exec(
            *apt_cache,
            name,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except OSError:  # no apt here
        return False
    try:
        async with asyncio.timeout(TIMEOUT):
            said, _ = await process.communicate()
    except TimeoutError:
        return False
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    versions: dict[str, str] = dict(_POLICY.findall(said.decode(errors="replace")))
    return versions.get("Installed") == _ABSENT != versions.get("Candidate", _ABSENT)
