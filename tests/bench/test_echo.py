# SPDX-License-Identifier: Apache-2.0
"""What the bus package costs: an echo, next to one that is the D-Bus library alone."""

from __future__ import annotations

from pathlib import Path

from bench.board import Baseline, Board, Row
from bench.in_tree import figures

CALLS = 2000


def test_echo(board: Board, suite_tree: tuple[str, Path]) -> None:
    """With the release's own Python and library, on a private bus."""
    release, tree = suite_tree
    measured = figures(tree, "echo", str(CALLS), "--json")
    for kind in ("echo", "echo, async with caller"):
        for name, unit in (("p50", "µs"), ("p99", "µs"), ("rate", "/s")):
            stock = Baseline("stock echo", measured["echo, stock"][name])
            board.add(Row(release, f"{kind} {name}", measured[kind][name], unit, None, stock))
