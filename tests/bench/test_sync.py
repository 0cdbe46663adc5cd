# SPDX-License-Identifier: Apache-2.0
"""What mission lists of peers cost, with the release's own Python."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from bench.board import Board, Goal, Row
from hosts.trees import SOURCE

FIGURES = {
    "bytes/10": ("bytes of a change beside 10 missions", "B", 1024),
    "bytes/100": ("bytes of a change beside 100 missions", "B", 1024),
    "bytes/1000": ("bytes of a change beside 1000 missions", "B", 1024),
    "views MiB": ("lists of 100 peers, 1000 missions each", "MiB", 25),
    "list ms": ("a list of 1000: encoded, decoded, applied", "ms", 100),
    "ms per 100 deltas": ("100 changes: encoded, decoded, applied", "ms", 50),
}


def test_lists_of_peers(board: Board, suite_tree: tuple[str, Path]) -> None:
    release, directory = suite_tree
    name = f"bench-sync-{release}-{os.getpid()}"
    done = subprocess.run(
        [
            *(str(SOURCE / "packaging/lib/container"), "run", str(directory), name),
            *("--user=alice", f"--bind-ro={SOURCE}:/src", "--setenv=PYTHONDONTWRITEBYTECODE=1"),
            *("--setenv=PYTHONPATH=/src/agent", "--"),
            *("python3", "/src/tests/bench/bench_sync.py"),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    for key, (measured, unit, most) in FIGURES.items():
        board.add(Row(release, measured, figures[key], unit, Goal(most), digits=1))
