# SPDX-License-Identifier: Apache-2.0
"""What mission lists of peers cost, with the release's own Python."""

from __future__ import annotations

from pathlib import Path

from bench.board import Board, Goal, Row
from bench.in_tree import figures

FIGURES = {
    "bytes/10": ("bytes of a change beside 10 missions", "B", 1024),
    "bytes/100": ("bytes of a change beside 100 missions", "B", 1024),
    "bytes/1000": ("bytes of a change beside 1000 missions", "B", 1024),
    "views MiB": ("lists of 100 peers, 1000 missions each", "MiB", 25),
    "list ms": ("a list of 1000: encoded, decoded, applied", "ms", 100),
    "ms per 100 deltas": ("100 changes: encoded, decoded, applied", "ms", 50),
}


def test_lists_of_peers(board: Board, suite_tree: tuple[str, Path]) -> None:
    release, tree = suite_tree
    found = figures(tree, "sync")
    for key, (measured, unit, most) in FIGURES.items():
        board.add(Row(release, measured, found[key], unit, Goal(most), digits=1))
