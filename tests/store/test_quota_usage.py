# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import os
import tempfile
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from missiond.store import quota_file, quota_usage
from missiond.store.quota_usage import SHORTEN_AFTER, UsageJournal, UsedQuota
from standins.examples import examples
from standins.open_files import open_files
from standins.worlds.journal_clock import JournalClock

DAY = 86_400_000


@dataclass
class Host:
    """A journal on a host whose clocks are known better than the host knows them."""

    path: Path
    clock: JournalClock = field(default_factory=JournalClock)
    # What was really used, in true time.
    used: list[tuple[int, int]] = field(default_factory=list)
    loaded: list[UsedQuota] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.journal = UsageJournal(self.path, list)
        self.loaded = self.journal.load(self.clock, DAY)

    def set_clock(self, error: int) -> None:
        """Have the wall clock be off by so much, and the journal hear of it."""
        self.clock.wall_error = error
        self.journal.mark()

    def use(self, ms: int) -> None:
        start = self.clock.now()
        self.clock.advance(ms)
        self.used.append((self.clock.true - ms, self.clock.true))
        self.journal.append(1000, "app", start, self.clock.now())

    def restart(self, *, orderly: bool) -> None:
        if orderly:
            self.journal.close()
        dead, self.journal = self.journal, UsageJournal(self.path, list)
        self.loaded = self.journal.load(self.clock, DAY)
        dead._close()

    def believed(self) -> list[tuple[int, int]]:
        known = [*self.loaded, *self.journal.earlier()]
        return [(self.clock.to_true(u.start_ms), self.clock.to_true(u.end_ms)) for u in known]

    def end(self) -> None:
        self.journal.close()
        self.journal._close()


def within(intervals: list[tuple[int, int]], since: int, until: int) -> int:
    """How much of disjoint intervals lies in a time."""
    return sum(max(0, min(end, until) - max(start, since)) for start, end in intervals)


STEPS = st.one_of(
    st.tuples(st.just("use"), st.integers(1, 180_000)),
    st.tuples(st.just("idle"), st.integers(0, DAY // 2)),
    st.tuples(st.just("restart"), st.booleans()),
    st.tuples(st.just("reboot"), st.integers(0, DAY // 2)),
    st.tuples(st.just("back"), st.integers(0, DAY)),
)


def run(host: Host, steps: list[tuple[str, int]], *, true_wall: bool) -> None:
    for step, amount in steps:
        if step == "use":
            host.use(amount)
        elif step == "idle":
            host.clock.advance(amount)
        elif step == "restart":
            host.restart(orderly=bool(amount))
        elif step == "reboot":
            host.clock.reboot(amount)
            host.restart(orderly=False)
        elif not true_wall:
            host.clock.wall_error -= amount
    host.restart(orderly=False)


@settings(deadline=None, max_examples=examples(200))
@given(st.lists(STEPS, max_size=25), st.integers(1, DAY))
def test_a_wall_clock_that_goes_back_never_grants_more(steps: list[tuple[str, int]], window: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        host = Host(Path(directory) / "usage")
        run(host, steps, true_wall=False)
        until = host.clock.true
        believed = host.believed()
        assert all(start < end <= until for start, end in believed)
        assert within(believed, until - window, until) >= within(host.used, until - window, until)
        host.end()


@settings(deadline=None, max_examples=examples(100))
@given(st.lists(STEPS, max_size=25), st.integers(1, DAY))
def test_with_a_true_wall_clock_nothing_is_lost_or_moved(steps: list[tuple[str, int]], window: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        host = Host(Path(directory) / "usage")
        run(host, steps, true_wall=True)
        until = host.clock.true
        believed = host.believed()
        assert within(believed, until - window, until) == within(host.used, until - window, until)
        assert not host.journal.failing
        host.end()


@settings(deadline=None, max_examples=examples(100))
@given(st.lists(st.tuples(st.integers(0, 2 * DAY), st.integers(1, 99_999), st.booleans()), max_size=8))
def test_a_clock_that_comes_late_loses_and_moves_nothing_once_it_is_there(
    boots: list[tuple[int, int, bool]],
) -> None:
    """A board without a battery for its clock goes on from where that stopped until the network tells it."""
    with tempfile.TemporaryDirectory() as directory:
        host = Host(Path(directory) / "usage")
        host.use(7_000)
        for off, amount, again in boots:
            host.clock.reboot(off)
            host.clock.wall_error = -off
            host.restart(orderly=False)
            host.use(amount)
            host.clock.advance(amount)
            if again:
                host.restart(orderly=True)
            host.set_clock(0)
            host.use(amount)
        host.restart(orderly=False)
        until = host.clock.true
        for window in (DAY // 2, DAY):
            within_window = within(host.believed(), until - window, until)
            assert within_window == within(host.used, until - window, until)
        host.end()


def test_what_an_earlier_boot_used_is_as_old_as_the_clock_says_when_it_is_asked(tmp_path: Path) -> None:
    host = Host(tmp_path / "usage")
    host.clock.advance(400_000)
    host.use(100_000)
    host.clock.reboot()
    host.clock.advance(20_000)
    host.restart(orderly=False)
    (used,) = host.journal.earlier()
    assert (used.start_ms, used.end_ms) == (-100_000, 0)
    host.restart(orderly=True)
    host.set_clock(30 * 3_600_000)
    assert host.journal.earlier() == []
    host.set_clock(3_600_000)  # it was not 30 hours: nothing is lost
    (used,) = host.journal.earlier()
    assert used.end_ms == -3_600_000
    host.end()


def test_where_nothing_can_be_read_that_is_remembered_for_a_period(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, clock = tmp_path / "usage", JournalClock()
    clock.advance(1000)
    path.write_bytes(b"\xff" * 100_000)
    journal = UsageJournal(path, list)
    assert journal.load(clock, DAY) == []
    assert journal.lost_at == 1000
    assert "1 damaged" in caplog.text
    for orderly in (True, False):
        clock.advance(1000)
        if orderly:
            journal.close()
        journal = UsageJournal(path, list)
        journal.load(clock, DAY)
        assert journal.lost_at == 1000
    clock.reboot(DAY // 2)
    journal = UsageJournal(path, list)
    journal.load(clock, DAY)
    assert journal.lost_at is not None
    assert clock.to_true(journal.lost_at) == JournalClock().to_true(1000)
    clock.advance(DAY // 2)
    assert journal.lost_at is None
    journal.close()


def test_of_a_file_that_is_too_large_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "usage"
    clock, whole = journal_of(path, *((10 * number, 10 * number + 5) for number in range(90)))
    monkeypatch.setattr(quota_file, "READ_LIMIT", len(whole) // 3)
    assert load(path, clock) == [(10 * number, 10 * number + 5) for number in range(61, 90)]


def test_lines_of_the_version_before_are_read(tmp_path: Path) -> None:
    path = tmp_path / "usage"
    clock = JournalClock()
    stamp = f'"boot":"{clock.boot_id}","now":900,"wall":{clock.wall()}'
    path.write_text(
        f'{{"version":1,"uid":1000,"app":"app","start":1,"end":9,{stamp}}}\n{{"version":1,{stamp}}}\n'
    )
    clock.advance(1000)
    assert load(path, clock) == [(1, 9)]


@settings(deadline=None, max_examples=examples(50))
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.integers(0, 900), st.integers(1, 99)),
        max_size=15,
    )
)
def test_applications_are_apart_overlaps_count_once_and_duplicates_do_not(
    entries: list[tuple[int, str, int, int]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "usage"
        clock = JournalClock()
        clock.advance(1000)
        journal = UsageJournal(path, list)
        journal.load(clock, DAY)
        expected: dict[tuple[int, str], set[int]] = {}
        for uid, app, start, length in entries * 2:
            journal.append(uid, app, start, start + length)
            expected.setdefault((uid, app), set()).update(range(start, start + length))
        journal.close()
        again = UsageJournal(path, list)
        found: dict[tuple[int, str], list[int]] = {}
        for usage in again.load(clock, DAY):
            found.setdefault((usage.uid, usage.app_id), []).extend(range(usage.start_ms, usage.end_ms))
        assert found == {key: sorted(points) for key, points in expected.items()}
        again.close()


def journal_of(path: Path, *pieces: tuple[int, int]) -> tuple[JournalClock, bytes]:
    clock = JournalClock()
    clock.advance(1000)
    journal = UsageJournal(path, list)
    journal.load(clock, DAY)
    for start, end in pieces:
        journal.append(1000, "app é", start, end)
    journal._close()
    return clock, path.read_bytes()


def load(path: Path, clock: JournalClock) -> list[tuple[int, int]]:
    journal = UsageJournal(path, list)
    loaded = journal.load(clock, DAY)
    assert not journal.failing
    journal.close()
    return [(usage.start_ms, usage.end_ms) for usage in loaded]


def test_cut_at_any_length_the_whole_lines_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "usage"
    pieces = ((10, 20), (30, 40), (50, 60))
    clock, whole = journal_of(path, *pieces)
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        caplog.clear()
        cut = whole[:length]
        # A line that lacks only its end of line is whole.
        complete = cut.count(b"\n") + cut.endswith(b"}")
        assert load(path, clock) == list(pieces[:complete])
        torn = bool(cut) and not cut.endswith((b"\n", b"}"))
        assert [record.levelname for record in caplog.records] == ["WARNING"] * torn
        caplog.clear()
        assert load(path, clock) == list(pieces[:complete])
        assert not caplog.records
    assert [entry.name for entry in tmp_path.iterdir()] == ["usage"]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5))
def test_garbage_between_lines_hides_no_other_line(pieces: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "usage"
        clock, whole = journal_of(path, (10, 20), (30, 40))
        first, second = whole.splitlines(keepends=True)
        path.write_bytes(first + b"\n".join(pieces) + b"\n" + second)
        assert load(path, clock) == [(10, 20), (30, 40)]


def test_other_versions_are_skipped_with_one_line_in_the_log_and_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "usage"
    clock, whole = journal_of(path, (10, 20), (30, 40))
    first, second = whole.splitlines(keepends=True)
    foreign = [first.replace(b'"version":1', b'"version":%d' % version) for version in (0, 2, 3)]
    content = b"".join(foreign) + b"{}\n" + second
    path.write_bytes(content)
    assert load(path, clock) == [(30, 40)]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "1 damaged, 3 of another version" in caplog.text
    assert path.with_suffix(".invalid").read_bytes() == content
    caplog.clear()
    assert load(path, clock) == [(30, 40)]
    assert not caplog.records


def test_zeros_after_a_power_failure_and_endless_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "usage"
    clock, whole = journal_of(path, (10, 20))
    path.write_bytes(whole + b"\0" * 4096)
    assert load(path, clock) == [(10, 20)]
    path.write_bytes(whole + b'{"version":1,' + b" " * 10_000 + b"\n" + whole)
    assert load(path, clock) == [(10, 20)]


@pytest.mark.parametrize("kind", ["fifo", "directory", "link", "huge"])
def test_things_that_are_no_journal_are_moved_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "usage"
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr(quota_file, "READ_LIMIT", 1000)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(victim)
    else:
        path.write_bytes(b"x" * 1001)
    assert load(path, JournalClock()) == []
    assert path.is_file()
    assert not path.is_symlink()
    assert victim.read_text() == "precious"


def test_killed_between_write_and_rename_of_a_compaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "usage"
    clock, _ = journal_of(path, (10, 20), (30, 40))

    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", die)
        patch.setattr(os, "unlink", die)
        with pytest.raises(Killed):
            UsageJournal(path, list).load(clock, DAY)
    assert path.with_suffix(".tmp").exists()
    assert load(path, clock) == [(10, 20), (30, 40)]
    assert not path.with_suffix(".tmp").exists()


@pytest.mark.parametrize("partial", [0, 7])
def test_a_full_disk_loses_nothing_once_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, partial: int
) -> None:
    path = tmp_path / "usage"
    clock = JournalClock()
    clock.advance(1000)
    journal = UsageJournal(path, list)
    journal.load(clock, DAY)
    journal.append(1, "a", 0, 10)
    real = os.write

    def write(fd: int, data: bytes) -> int:
        if partial:
            return real(fd, data[:partial])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        journal.append(1, "a", 20, 30)
        journal.append(1, "a", 40, 50)
        assert journal.failing
    assert len(caplog.records) == 1
    journal.append(1, "a", 60, 70)
    assert not journal.failing
    journal._close()
    assert load(path, clock) == [(0, 10), (20, 30), (40, 50), (60, 70)]


def test_a_failed_compaction_leaves_everything_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "usage"
    clock, whole = journal_of(path, (10, 20))
    path.write_bytes(whole[:-1] + b'\n{"torn')

    def rename(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    journal = UsageJournal(path, list)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", rename)
        assert len(journal.load(clock, DAY)) == 1
    assert journal.failing
    journal.append(1000, "app é", 30, 40)
    assert not journal.failing
    journal._close()
    assert load(path, clock) == [(10, 20), (30, 40)]


def test_many_lines_give_way_to_what_is_known(tmp_path: Path) -> None:
    path = tmp_path / "usage"
    clock = JournalClock()
    known = [UsedQuota(1000, "app", 0, 7), UsedQuota(1001, "other", 3, 4)]
    journal = UsageJournal(path, lambda: known)
    journal.load(clock, DAY)
    for number in range(3 * SHORTEN_AFTER + 5):
        clock.advance(10)
        journal.append(1000, "app", clock.now() - 2, clock.now())
        if number % 100 == 0:
            assert path.read_bytes().count(b"\n") <= SHORTEN_AFTER
    assert path.read_bytes().count(b"\n") < SHORTEN_AFTER
    journal.close()
    loaded = UsageJournal(path, list).load(clock, DAY)
    assert known == [usage for usage in loaded if usage.end_ms <= 7]
    assert all(before.end_ms < after.start_ms for before, after in pairwise(loaded[:-1]))


def test_what_is_known_may_be_more_than_many_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the file is written anew when it has doubled, and not each time."""
    monkeypatch.setattr(quota_usage, "SHORTEN_AFTER", 10)
    asked = 0

    def known() -> list[UsedQuota]:
        nonlocal asked
        asked += 1
        return [UsedQuota(1000, f"app{number}", 0, 7) for number in range(100)]

    clock = JournalClock()
    clock.advance(1000)
    journal = UsageJournal(tmp_path / "usage", known)
    journal.load(clock, DAY)
    for number in range(300):
        journal.append(1000, "app", number, number + 1)
    assert asked == 3
    journal.close()


def test_a_disk_that_is_full_for_long_loses_nothing_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """More than may wait in memory: what is known says it all, as soon as there is room for that."""
    path = tmp_path / "usage"
    clock = JournalClock()
    clock.advance(1000)
    known = [UsedQuota(1000, "app", 0, 900), UsedQuota(1000, "app", 950, 960)]
    journal = UsageJournal(path, lambda: known)
    journal.load(clock, DAY)
    monkeypatch.setattr(quota_usage, "_PENDING_LIMIT", 300)

    def write(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        for number in range(90):
            journal.append(1000, "app", 10 * number, 10 * number + 1)
        assert journal.failing
        patch.undo()
        patch.setattr(os, "rename", write)
        for number in range(3):  # lines have room, a file of its own has not
            journal.append(1000, "app", 950 + number, 960)
            assert journal.failing
    assert len(caplog.records) == 1
    journal.append(1000, "app", 950, 960)
    assert not journal.failing
    journal._close()
    assert load(path, clock) == [(0, 900), (950, 960)]


def test_usage_older_than_the_horizon_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "usage"
    clock, _ = journal_of(path, (10, 20))
    clock.advance(DAY - 1000 + 19)
    assert load(path, clock) == [(10, 20)]
    clock.advance(1)
    assert load(path, clock) == []
    assert path.read_bytes().count(b'"app"') == 0


def test_misuse_is_refused(tmp_path: Path) -> None:
    journal = UsageJournal(tmp_path / "usage", list)
    with pytest.raises(RuntimeError, match="not loaded"):
        journal.append(1, "a", 1, 2)
    journal.close()
    assert not (tmp_path / "usage").exists()
    journal.load(JournalClock(), DAY)
    with pytest.raises(ValueError, match="before it starts"):
        journal.append(1, "a", 2, 1)
    journal.append(1, "a", 1, 1)
    assert (tmp_path / "usage").read_bytes() == b""
    journal.close()


def test_no_descriptor_is_left_or_inherited(tmp_path: Path) -> None:
    before = set(open_files())
    clock, _ = journal_of(tmp_path / "usage", (10, 20))
    for _ in range(3):
        assert load(tmp_path / "usage", clock) == [(10, 20)]
    assert set(open_files()) == before
