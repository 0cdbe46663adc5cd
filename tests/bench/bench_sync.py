# SPDX-License-Identifier: Apache-2.0
"""What mission lists of peers cost, without a network: bytes, memory and time.

Run as `PYTHONPATH=agent python tests/bench/bench_sync.py`; prints JSON.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from missiond.core.link.message_types import Update
from missiond.core.link.messages import parse, serialise
from missiond.core.missions.missions import Row
from missiond.core.sync.publisher import split
from missiond.core.sync.replica import Replica
from missiond.core.sync.versioned_list import VersionedList

PEERS = 100
ROWS = 1000
LIST = 2**63 - 1
FRAME = 4


def row(number: int, state: str = "running") -> Row:
    label, app = f"Firefox Web Browser – window {number}", "org.mozilla.firefox"
    return (
        number,
        label,
        "firefox",
        app,
        100_000 + number,
        1000,
        state,
        False,
        False,
        0,
        1_700_000_000_000_000,
    )


def published(count: int) -> VersionedList:
    found = VersionedList(LIST)
    found.change(map(row, range(1, count + 1)), ())
    return found


def said(update: Update) -> list[bytes]:
    return [serialise(part) for part in split(update)]


def follow(view: Replica, messages: list[bytes]) -> None:
    for data in messages:
        update = parse(data)
        assert isinstance(update, Update)
        view.apply(update)


def rss() -> float:
    """MiB of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def per_change(count: int) -> int:
    """Bytes on the wire for one mission that begins beside `count` others."""
    owner = published(count)
    owner.change([row(count + 1)], ())
    return sum(FRAME + len(data) for data in said(owner.update((LIST, owner.seq - 1), 0)))


def took(work: Callable[[], None], times: int) -> float:
    """Ms of processor time, the median."""
    found = []
    for _ in range(times):
        began = time.process_time()
        work()
        found.append((time.process_time() - began) * 1000)
    return median(found)


def measure() -> dict[str, float]:
    """All figures."""
    figures: dict[str, float] = {f"bytes/{count}": per_change(count) for count in (10, 100, 1000)}
    owner = published(ROWS)
    whole = said(owner.update(None, 0))
    figures["list bytes"] = sum(map(len, whole))
    follow(Replica(), whole)
    before = rss()
    views = [Replica() for _ in range(PEERS)]
    for view in views:
        follow(view, whole)
    figures["views MiB"] = rss() - before
    figures["process MiB"] = rss()
    figures["list ms"] = took(lambda: follow(Replica(), said(owner.update(None, 0))), 20)

    def second() -> None:
        """One change at each peer."""
        owner.change([row(owner.seq % ROWS + 1, f"state {owner.seq}")], ())
        for view in views:
            follow(view, said(owner.update((LIST, owner.seq - 1), 0)))

    figures["ms per 100 deltas"] = took(second, 50)
    assert all(len(view) == ROWS and view.seq == owner.seq for view in views)
    return figures


if __name__ == "__main__":
    print(json.dumps(measure()))
