# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from missiond.store.counters import MAX_VALUE, Counters
from standins.examples import examples

NAMES = st.sampled_from(["transient", "continuous", "mission"])
VALUES = st.integers(1, MAX_VALUE)


def at(path: Path, value: int, name: str = "transient") -> Counters:
    """Counters that have just returned this value."""
    counters = Counters(path)
    if value:
        counters.at_least(name, value)
    return counters


@settings(deadline=None, max_examples=examples(50))
@given(st.lists(st.tuples(NAMES, st.booleans()), max_size=40))
def test_each_counter_goes_on_across_restarts_without_gap_or_repeat(steps: list[tuple[str, bool]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "counters"
        counters = Counters(path)
        expected = dict.fromkeys(("transient", "continuous", "mission"), 0)
        for name, restart in steps:
            if restart:
                # Not closed first, as after kill -9.
                counters = Counters(path)
            expected[name] += 1
            assert counters.next(name) == expected[name]


@settings(deadline=None, max_examples=examples(100))
@given(
    st.integers(MAX_VALUE - 20, MAX_VALUE),
    st.sets(st.integers(1, 15) | st.integers(MAX_VALUE - 15, MAX_VALUE), max_size=20),
    st.booleans(),
)
def test_wraps_to_one_and_never_gives_a_live_id(start: int, live: set[int], restart: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "counters"
        counters = at(path, start)
        given_ids: list[int] = []
        for _ in range(40):
            given_ids.append(counters.next("transient", live.__contains__))
            if restart:
                counters = Counters(path)
                for value in live:
                    counters.at_least("transient", value)
    after = [value for value in range(start + 1, MAX_VALUE + 1) if value not in live]
    before = [value for value in range(1, 100) if value not in live]
    if restart:
        # A live id ahead may have been jumped to; what counts is that nothing repeats.
        assert len(set(given_ids)) == 40
        assert not live.intersection(given_ids)
    else:
        assert given_ids == (after + before)[:40]


@settings(deadline=None, max_examples=examples(100))
@given(VALUES, VALUES)
def test_at_least_never_turns_a_sound_counter_back(value: int, live: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "counters"
        at(path, value)
        counters = Counters(path)
        counters.at_least("transient", live)
        result = counters.next("transient")
        ahead = (live - value) % MAX_VALUE
        expected = live if 0 < ahead < MAX_VALUE // 2 else value
        assert result == expected % MAX_VALUE + 1


@pytest.mark.parametrize("order", [(5, 4294967290, 3), (3, 5, 4294967290)])
def test_without_a_file_counting_goes_on_above_the_highest_live_id(tmp_path: Path, order: list[int]) -> None:
    counters = Counters(tmp_path / "new" / "counters")
    for value in order:
        counters.at_least("transient", value)
    assert counters.next("transient") == 4294967291


def test_a_file_cut_at_any_length_is_set_aside_and_the_live_ids_count(tmp_path: Path) -> None:
    path = tmp_path / "counters"
    at(path, 41)
    whole = path.read_bytes()
    assert whole == b'{"version":1,"values":{"transient":41}}'
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        counters = Counters(path)
        assert path.with_suffix(".invalid").read_bytes() == whole[:length]
        assert not counters.failing
        counters.at_least("transient", 7)
        assert counters.next("transient") == 8
        assert Counters(path).next("transient") == 9


def test_the_slots_of_the_first_version_count(tmp_path: Path) -> None:
    path = tmp_path / "counters"
    path.write_bytes((Path(__file__).parents[1] / "data/before/run/counters").read_bytes())
    counters = Counters(path)
    assert [counters.next(name) for name in ("transient", "continuous", "mission")] == [8, 2, 4_000_000_001]
    assert not path.with_suffix(".invalid").exists()
    assert Counters(path).next("transient") == 9


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_garbage_starts_anew_and_keeps_the_file(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "counters"
        path.write_bytes(data)
        counters = Counters(path)
        assert counters.next("transient") == 1
        assert path.with_suffix(".invalid").read_bytes() == data


def test_things_that_are_no_files_are_moved_away(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in ("fifo", "directory", "link", "huge"):
        path = tmp_path / name
        if name == "fifo":
            os.mkfifo(path)
        elif name == "directory":
            path.mkdir()
        elif name == "link":
            path.symlink_to(victim)
        else:
            path.write_bytes(b"x" * 1_000_000)
        counters = Counters(path)
        assert counters.next("transient") == 1
        assert not counters.failing
        assert path.is_file()
        assert not path.is_symlink()
    assert victim.read_text() == "precious"


def test_a_disk_that_fails_does_not_stop_the_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "counters"
    counters = Counters(path)
    assert counters.next("transient") == 1

    def fail(*_: object, **__: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail)
        assert [counters.next("transient") for _ in range(3)] == [2, 3, 4]
        assert counters.failing
    assert len(caplog.records) == 1
    assert counters.next("transient") == 5
    assert not counters.failing
    assert Counters(path).next("transient") == 6


def test_a_place_that_cannot_be_written_counts_in_memory_until_it_can(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    counters = Counters(tmp_path / "file" / "counters")
    assert counters.failing
    assert [counters.next("transient") for _ in range(2)] == [1, 2]
    (tmp_path / "file").unlink()
    (tmp_path / "file").mkdir()
    assert counters.next("transient") == 3
    assert not counters.failing
    again = Counters(tmp_path / "file" / "counters")
    assert again.next("transient") == 4


def test_a_step_is_seen_at_once_and_waits_for_no_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "counters"
    counters = at(path, 9)
    monkeypatch.setattr(os, "fsync", None)
    assert counters.next("transient") == 10
    assert path.read_bytes() == b'{"version":1,"values":{"transient":10}}'


@pytest.mark.parametrize("name", ["", "A", "a b", "a/b", "x" * 33])
def test_names_are_plain_words(tmp_path: Path, name: str) -> None:
    counters = Counters(tmp_path / "counters")
    with pytest.raises(ValueError, match="name"):
        counters.next(name)


def test_there_is_room_for_some_names_only(tmp_path: Path) -> None:
    counters = Counters(tmp_path / "counters")
    for number in range(63):
        counters.next(f"n{number}")
    with pytest.raises(ValueError, match="too many"):
        counters.next("one-more")
    again = Counters(tmp_path / "counters")
    assert again.next("n62") == 2


@pytest.mark.parametrize("value", [0, -1, MAX_VALUE + 1])
def test_values_out_of_range_are_refused(tmp_path: Path, value: int) -> None:
    counters = Counters(tmp_path / "counters")
    with pytest.raises(ValueError, match="out of range"):
        counters.at_least("transient", value)


_COUNT = """
import sys
from missiond.store.counters import Counters
counters = Counters(sys.argv[1])
while True:
    print(counters.next("transient"), flush=True)
"""


def test_killed_in_mid_count_the_next_process_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "counters"
    last = 0
    for lines in (1, 50, 500):
        with subprocess.Popen(
            [sys.executable, "-c", _COUNT, str(path)],
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": str(Path(__file__).parents[2] / "agent")},
        ) as process:
            assert process.stdout is not None
            for _ in range(lines):
                assert int(process.stdout.readline()) == last + 1
                last += 1
            process.kill()
            rest = process.stdout.read().split(b"\n")[:-1]
        last = int(rest[-1]) if rest else last
        counters = Counters(path)
        # The last step may have been killed before it was told.
        assert counters.next("transient") in (last + 1, last + 2)
        last = counters.next("transient")
