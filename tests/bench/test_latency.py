# SPDX-License-Identifier: Apache-2.0
"""What a task costs on top of the lock that it is for."""

from __future__ import annotations

from statistics import quantiles

from bench.board import Baseline, Board, Goal, Row
from bench.fleet import Fleet, Kind, inside

PAIRS, WARM_UP = 1000, 100


def test_request_and_cancel(fleet: Fleet, board: Board, kind: Kind) -> None:
    """Alice's RequestSuspendDelay and CancelSuspendDelay, by turns with bare locks taken and closed."""
    times = inside(fleet.host(kind), "pairs", str(PAIRS), str(WARM_UP))
    cuts = {key: quantiles(values, n=100) for key, values in times.items()}
    assert all(len(values) == PAIRS for values in times.values())
    for name, place, most in (("p50", 49, 2.0), ("p99", 98, 3.0)):
        us = {key: cut[place] / 1e3 for key, cut in cuts.items()}
        note = f"request {us['request']:.0f}, cancel {us['cancel']:.0f}"
        own, root = Baseline("Inhibit as missiond", us["service"]), Baseline("Inhibit as root", us["root"])
        pair = f"request + cancel {name}"
        board.add(
            Row(*kind, pair, us["agent"], "µs", Goal(most, times=True), root, note),
            Row(*kind, f"{pair} by own user", us["agent"], "µs", Goal(most, times=True), own),
        )
