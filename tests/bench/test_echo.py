# SPDX-License-Identifier: Apache-2.0
"""What the bus package costs: an echo, next to one that is the D-Bus library alone."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from bench.board import Baseline, Board, Row
from hosts.trees import SOURCE

CALLS = 2000


def test_echo(board: Board, suite_tree: tuple[str, Path]) -> None:
    """With the release's own Python and library, on a private bus."""
    release, directory = suite_tree
    name = f"bench-{release}-{os.getpid()}"
    done = subprocess.run(
        [
            *(str(SOURCE / "packaging/lib/container"), "run", str(directory), name),
            *("--user=alice", f"--bind-ro={SOURCE}:/src", "--setenv=PYTHONDONTWRITEBYTECODE=1", "--"),
            *("python3", "/src/tests/bench/bench_echo.py", str(CALLS), "--json"),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    for kind in ("echo", "echo, async with caller"):
        for name, unit in (("p50", "µs"), ("p99", "µs"), ("rate", "/s")):
            stock = Baseline("stock echo", figures["echo, stock"][name])
            board.add(Row(release, f"{kind} {name}", figures[kind][name], unit, None, stock))
