# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from missiond.daemon.handover.launcher import MissingPrograms
from missiond.errors import AgentError, RemoteNeedsFreeInstall, RemoteNotInstalled
from missiond.host import packages
from missiond.host.packages import package_with

SCHEMA = """
CREATE TABLE commands (cmdID INTEGER PRIMARY KEY AUTOINCREMENT, pkgID INTEGER NOT NULL, command TEXT);
CREATE TABLE packages (pkgID INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, version TEXT, component TEXT,
                       priority INTEGER);
INSERT INTO packages (name, version, component, priority) VALUES ("rip", "1", "main", 1),
    ("ripgrep", "1", "main", 9), ("--evil", "1", "main", 1), ("known", "1", "main", 1);
INSERT INTO commands (pkgID, command) VALUES (1, "rg"), (2, "rg"), (3, "evil");
"""
"""As command-not-found makes it."""
NONE = Path("/no/such/database")
APT = """#!/bin/sh
case $2 in
    hangs) exec sleep 60 ;;
    rsync | known) set -- "$2" '(none)' 3.2.7 ;;
    here) set -- "$2" 1.0 1.0 ;;
    awk) set -- "$2" '(none)' '(none)' ;;
    *) exit 0 ;;
esac
printf '%s:\\n  Installed: %s\\n  Candidate: %s\\n  Version table:\\n     3.2.7 500\\n' "$@"
"""
"""What `apt-cache policy` says: of what is no package nothing; awk is a name that packages provide."""


def apt_cache(directory: Path) -> list[str]:
    """A program that says so."""
    apt = directory / "apt-cache"
    apt.write_text(APT)
    apt.chmod(0o755)
    return [str(apt), "--"]


async def test_of_the_database(tmp_path: Path) -> None:
    file = tmp_path / "commands.db"
    with sqlite3.connect(file) as connection:
        connection.executescript(SCHEMA)
    connection.close()
    apt = apt_cache(tmp_path)
    assert await package_with("/usr/bin/rg", file, apt) == "ripgrep"
    assert await package_with("/usr/bin/rsync", file, apt) == "rsync"
    for program in ("/opt/bin/rg", "/usr/bin/none", "/usr/bin/evil", "/usr/bin/x' OR 1=1", "/usr/bin/known"):
        assert await package_with(program, file, apt) is None
    file.write_bytes(b"no database")
    assert await package_with("/usr/bin/rg", file, apt) is None
    assert await package_with("/usr/bin/rsync", file, apt) == "rsync"


async def test_by_the_name_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = apt_cache(tmp_path)
    assert await package_with("/usr/bin/rsync", NONE, command) == "rsync"
    for name in ("other", "here", "awk", "-x", "Rsync"):
        assert await package_with(f"/usr/bin/{name}", NONE, command) is None
    assert await package_with("/srv/rsync", NONE, command) is None
    assert await package_with("/usr/bin/rsync", NONE, ["/no/apt"]) is None
    monkeypatch.setattr(packages, "TIMEOUT", 0.2)
    assert await package_with("/usr/bin/hangs", NONE, command) is None


@pytest.mark.parametrize(
    ("package", "install", "error", "said"),
    [
        (None, False, RemoteNotInstalled, "no package is known"),
        ("x", False, RemoteNeedsFreeInstall, "have x installed"),
        ("x", True, RemoteNeedsFreeInstall, "not installed by this agent"),
    ],
)
async def test_what_is_said(package: str | None, install: bool, error: type[AgentError], said: str) -> None:
    async def known(_program: str) -> str | None:
        return package

    with pytest.raises(error, match=said):
        await MissingPrograms(known).missing("/usr/bin/x", install=install)
