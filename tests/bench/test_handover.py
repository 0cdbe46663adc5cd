# SPDX-License-Identifier: Apache-2.0
"""What state of a hand-over costs on its way, with the release's own Python."""

from __future__ import annotations

from pathlib import Path

from bench.board import Baseline, Board, Goal, Row
from bench.in_tree import figures

LEAST = 0.7
"""Share of the throughput of TLS alone."""


def test_state_against_tls_alone(board: Board, suite_tree: tuple[str, Path]) -> None:
    release, tree = suite_tree
    found = figures(tree, "handover")
    ours, raw = (50_000 / found[name] for name in ("handover", "raw"))
    speed = f"{found['handover']:.0f} MB/s, {found['raw']:.0f} MB/s"
    baseline = Baseline("TLS alone", raw)
    board.add(
        Row(release, "50 MB of state", ours, "ms", Goal(1 / LEAST, times=True), baseline, speed, digits=1)
    )
