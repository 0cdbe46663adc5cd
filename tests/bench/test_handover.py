# SPDX-License-Identifier: Apache-2.0
"""What state of a hand-over costs on its way, with the release's own Python."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from bench.board import Baseline, Board, Goal, Row
from hosts.trees import SOURCE

LEAST = 0.7
"""Share of the throughput of TLS alone."""


def test_state_against_tls_alone(board: Board, suite_tree: tuple[str, Path]) -> None:
    release, directory = suite_tree
    name = f"bench-handover-{release}-{os.getpid()}"
    done = subprocess.run(
        [
            *(str(SOURCE / "packaging/lib/container"), "run", str(directory), name),
            *("--user=alice", f"--bind-ro={SOURCE}:/src", "--setenv=PYTHONDONTWRITEBYTECODE=1"),
            *("--setenv=PYTHONPATH=/src/agent", "--"),
            *("python3", "/src/tests/bench/bench_handover.py"),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    ours, raw = (50_000 / found[name] for name in ("handover", "raw"))
    speed = f"{found['handover']:.0f} MB/s, {found['raw']:.0f} MB/s"
    baseline = Baseline("TLS alone", raw)
    board.add(
        Row(release, "50 MB of state", ours, "ms", Goal(1 / LEAST, times=True), baseline, speed, digits=1)
    )
