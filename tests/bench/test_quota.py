# SPDX-License-Identifier: Apache-2.0
"""The record of quotas: what a start reads, and what the end of a task writes."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from bench.board import Baseline, Board, Goal, Row
from missiond.store import quota_lines, safe_files
from missiond.store.quota_lines import Stamp
from missiond.store.quota_usage import UsageJournal

LINES, APPLICATIONS = 430_000, 10_000
ENDS = 2_000
DAY = 86_400_000
WALL = 1_800_000_000_000
RELEASE = f"python {sys.version_info[0]}.{sys.version_info[1]}"


class Clock:
    boot_id = "second"

    def now(self) -> int:
        return 3_600_000

    def wall(self) -> int:
        return WALL + 3_600_000


def name(number: int) -> tuple[int, str]:
    return 1000 + number % APPLICATIONS // 700, f"org.example.App{number % APPLICATIONS}"


def test_start_with_a_long_record(tmp_path: Path, board: Board) -> None:
    """360 000 uses of 10 000 applications in two boots, and 70 000 marks."""
    path = tmp_path / "usage"
    with path.open("wb") as file:
        for number in range(LINES):
            stamp = Stamp("first" if number < LINES // 2 else "second", 1_000_000 + number, WALL + number)
            if number % 43 < 7:
                file.write(quota_lines.encode_mark(stamp))
            else:
                file.write(quota_lines.encode(stamp, *name(number), stamp.now - 1000, stamp.now - 1))
    size = path.stat().st_size
    journal = UsageJournal(path, list)
    begin = time.process_time()
    journal.load(Clock(), DAY)
    journal.earlier()
    took = time.process_time() - begin
    journal.close()
    board.add(
        Row(
            RELEASE,
            "start with 430 000 lines of quota",
            took,
            "s CPU",
            Goal(2),
            note=f"{size >> 20} MiB",
            digits=2,
        )
    )


def test_what_an_end_costs(tmp_path: Path, board: Board) -> None:
    """A line of the journal, against one file for each application, of as many intervals as are kept."""
    journal = UsageJournal(tmp_path / "usage", list)
    journal.load(Clock(), DAY)
    lines = [quota_lines.encode(Stamp.of(Clock()), *name(0), 10 * each, 10 * each + 5) for each in range(48)]
    whole = b"".join(lines)

    def file_of_its_own(number: int) -> None:
        safe_files.replace(str(tmp_path / f"{number % 100}.json"), whole)

    def line(number: int) -> None:
        journal.append(*name(number), 10 * number, 10 * number + 5)

    appended, replaced = (_p99(work) for work in (line, file_of_its_own))
    journal.close()
    note = f"{len(lines[0]) / 1000:.1f} kB against {len(whole) / 1000:.1f}"
    baseline = Baseline("a file for each application", replaced)
    board.add(
        Row(RELEASE, "the end of a task is recorded, p99", appended, "ms", None, baseline, note, digits=3)
    )


def _p99(work: object) -> float:
    assert callable(work)
    times = []
    for number in range(ENDS):
        begin = time.perf_counter()
        work(number)
        times.append(time.perf_counter() - begin)
    return sorted(times)[ENDS * 99 // 100] * 1000
