# SPDX-License-Identifier: Apache-2.0
"""The first version of missiond, built from the history of this repository."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from hosts.trees import SOURCE

COMMIT = "fa94c4049fab910559b7205d141289fd9b4f071e"
"""The last state that had the first layout of files, protocol and package."""


class OldVersion(NamedTuple):
    """Its sources, tests with them, and its package."""

    source: Path
    deb: Path


def missing() -> str | None:
    """Return why it can't be built here, None when it can."""
    there = subprocess.run(
        ["git", "-C", str(SOURCE), "cat-file", "-e", COMMIT], check=False, capture_output=True, timeout=30
    )
    return None if there.returncode == 0 else f"no history here that has {COMMIT[:7]}"


def build(directory: Path) -> OldVersion:
    """Return it, built below a directory."""
    source = directory / "source"
    source.mkdir()
    archive = subprocess.run(
        ["git", "-C", str(SOURCE), "archive", COMMIT], check=True, capture_output=True, timeout=60
    )
    subprocess.run(["tar", "-x", "-C", str(source)], check=True, input=archive.stdout, timeout=60)
    built = subprocess.run(
        ["packaging/build-deb", str(directory)],
        cwd=source,
        env=dict(os.environ),
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return OldVersion(source, Path(built.stdout.splitlines()[-1]))
