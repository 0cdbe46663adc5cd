# SPDX-License-Identifier: Apache-2.0
"""What the hosts boot from: the package, built once, and a tree per Debian release that has it installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2]
SUITES = tuple(os.environ.get("MISSIOND_HOST_SUITES", "bookworm trixie").split())


def missing() -> str | None:
    """Return why hosts cannot be booted here, None when they can."""
    if os.geteuid() != 0:
        return "hosts are booted by root"
    if shutil.which("apt-get") is None:
        return "trees are built with Debian's tools"
    return None


def package(directory: Path, missing: str | None = None) -> Path:
    """Return the package to test: MISSIOND_DEB when set, else one built from these sources into directory.

    The test fails where something that it needs is `missing`.
    """
    if missing is not None:
        pytest.fail(f"these tests must run here but cannot: {missing}")
    given = os.environ.get("MISSIOND_DEB")
    if given:
        return Path(given)
    return Path(_print(["packaging/build-deb", str(directory)]))


def tree(kind: str, suite: str, deb: Path | None = None) -> Path:
    """Return the directory of a tree ("base", "host" or "kit"), building it when it is not there."""
    return Path(_print(["packaging/lib/tree", kind, suite, *([] if deb is None else [str(deb)])]))


def _print(command: list[str]) -> str:
    """Run a script of the sources and return the last line it prints; its progress is on stderr."""
    done = subprocess.run(command, cwd=SOURCE, check=False, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed:\n{done.stderr[-4000:]}")
    return done.stdout.splitlines()[-1]
