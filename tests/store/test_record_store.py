# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import json
import logging
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from missiond.store import safe_files
from missiond.store.record_store import FILE_LIMIT, RecordStore
from standins.examples import examples

IDS = st.integers(1, 2**32 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.dictionaries(st.text(max_size=10).filter(lambda key: key != "version"), JSON, max_size=5)


@settings(deadline=None, max_examples=examples(50))
@given(st.dictionaries(IDS, RECORDS, max_size=8))
def test_what_was_saved_is_loaded_by_a_new_process_in_order(records: dict[int, dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        files = RecordStore(directory)
        for lease_id, record in records.items():
            files.save("transient", lease_id, {"old": True})
            files.save("transient", lease_id, record)
        files.close()
        again = RecordStore(directory)
        assert again.load("transient") == sorted(records.items())
        assert again.load("continuous") == []
        for lease_id in records:
            again.remove("transient", lease_id)
            again.remove("transient", lease_id)
        assert again.load("transient") == []
        again.close()


def test_version_comes_first_and_only_the_owner_may_read(tmp_path: Path) -> None:
    RecordStore(tmp_path / "run").save("transient", 7, {"a": 1})
    path = tmp_path / "run" / "transient" / "7"
    assert path.read_bytes() == b'{"version":1,"a":1}'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_cut_at_any_length_is_set_aside_and_the_others_live(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    RecordStore(tmp_path).save("transient", 1, {"reason": "é\n\"'", "deadline": 123, "list": [1, 2]})
    whole = (tmp_path / "transient" / "1").read_bytes()
    for length in range(len(whole)):
        files = RecordStore(tmp_path)
        files.save("transient", 2, {"n": length})
        (tmp_path / "transient" / "1").write_bytes(whole[:length])
        caplog.clear()
        assert files.load("transient") == [(2, {"n": length})]
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        assert (tmp_path / "transient" / "1.invalid").read_bytes() == whole[:length]
        caplog.clear()
        assert files.load("transient") == [(2, {"n": length})]
        assert not caplog.records
        files.close()


@settings(deadline=None)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_skipped(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        files = RecordStore(directory)
        files.save("transient", 2, {})
        (Path(directory) / "transient" / "3").write_bytes(data)
        assert files.load("transient") == [(2, {})]
        files.close()


@pytest.mark.parametrize(
    "content",
    [
        b'{"version":2}',
        b'{"version":0}',
        b'{"version":true}',
        b'{"version":1.0}',
        b'{"version":"1"}',
        b'{"a":1}',
        b"[1]",
        b'{"version":1,"a":NaN}',
        b"[" * 100_000,
        b'{"version":1,"a":' + b"9" * 5000 + b"}",
        b'{"version":1}' + b"\0" * 10,
        b'\xef\xbb\xbf{"version":1}',
        '{"version":1}'.encode("utf-16"),
        b" " * (FILE_LIMIT + 1),
        b"",
    ],
)
def test_foreign_content_is_kept_aside(tmp_path: Path, content: bytes) -> None:
    files = RecordStore(tmp_path)
    files.save("transient", 2, {})
    (tmp_path / "transient" / "9").write_bytes(content)
    assert files.load("transient") == [(2, {})]
    assert (tmp_path / "transient" / "9.invalid").read_bytes() == content
    files.close()


@pytest.mark.parametrize("name", ["0", "01", "4294967296", "-1", "1 ", "x", "1.json", "٣", "a\nb", ".hidden"])
def test_names_that_are_no_ids_are_set_aside(tmp_path: Path, name: str) -> None:
    files = RecordStore(tmp_path)
    files.save("transient", 2, {})
    (tmp_path / "transient" / name).write_bytes(b'{"version":1}')
    assert files.load("transient") == [(2, {})]
    assert (tmp_path / "transient" / f"{name}.invalid").exists()
    files.close()


def test_other_things_than_files_are_set_aside_without_waiting(tmp_path: Path) -> None:
    files = RecordStore(tmp_path)
    files.save("transient", 2, {"a": 1})
    kind = tmp_path / "transient"
    os.mkfifo(kind / "3")
    (kind / "4").symlink_to(kind / "2")
    (kind / "5").mkdir()
    (kind / "6").symlink_to("nowhere")
    (kind / "7.tmp").mkdir()
    os.mkfifo(kind / "8.tmp")
    assert files.load("transient") == [(2, {"a": 1})]
    assert sorted(path.name for path in kind.iterdir()) == [
        "2", "3.invalid", "4.invalid", "5.invalid", "6.invalid", "7.tmp.invalid",
    ]  # fmt: skip
    files.close()


def test_a_link_in_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    files = RecordStore(tmp_path)
    files.save("transient", 1, {})
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in ("2", "2.tmp"):
        (tmp_path / "transient" / name).symlink_to(victim)
    files.save("transient", 2, {"a": 1})
    assert victim.read_text() == "precious"
    assert files.load("transient") == [(1, {}), (2, {"a": 1})]
    files.close()


def test_killed_between_write_and_rename_the_old_record_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = RecordStore(tmp_path)
    files.save("transient", 1, {"n": 1})

    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", die)
        patch.setattr(os, "unlink", die)
        with pytest.raises(Killed):
            files.save("transient", 1, {"n": 2})
    assert (tmp_path / "transient" / "1.tmp").exists()
    again = RecordStore(tmp_path)
    again.save("transient", 2, {})
    assert again.load("transient") == [(1, {"n": 1}), (2, {})]
    assert not (tmp_path / "transient" / "1.tmp").exists()
    again.save("transient", 1, {"n": 3})
    assert again.load("transient")[0] == (1, {"n": 3})
    again.close()
    files.close()


@pytest.mark.parametrize("written", [0, 5])
def test_a_full_disk_is_the_callers_to_know_and_keeps_the_old_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    files = RecordStore(tmp_path)
    files.save("transient", 1, {"n": 1})
    real_write = os.write
    calls = iter([written, 0])

    def write(fd: int, data: bytes) -> int:
        if count := next(calls):
            return real_write(fd, data[:count])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(OSError, match="No space left") as caught:
            files.save("transient", 1, {"n": 2})
    assert caught.value.errno == errno.ENOSPC
    assert [path.name for path in (tmp_path / "transient").iterdir()] == ["1"]
    assert files.load("transient") == [(1, {"n": 1})]
    files.close()


def test_a_directory_removed_meanwhile_is_made_again(tmp_path: Path) -> None:
    files = RecordStore(tmp_path)
    files.save("transient", 1, {})
    (tmp_path / "transient" / "1").unlink()
    (tmp_path / "transient").rmdir()
    files.remove("transient", 1)
    files.save("transient", 2, {"a": 1})
    assert files.load("transient") == [(2, {"a": 1})]
    files.close()


def test_a_kinds_directory_that_is_a_link_or_a_file_counts_as_empty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "transient").symlink_to(tmp_path)
    (tmp_path / "continuous").write_text("")
    files = RecordStore(tmp_path)
    assert files.load("transient") == []
    assert files.load("continuous") == []
    assert len(caplog.records) == 2
    with pytest.raises(OSError, match="transient"):
        files.save("transient", 1, {})


@pytest.mark.parametrize("lease_id", [0, -1, 2**32])
def test_ids_out_of_range_are_refused(tmp_path: Path, lease_id: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        RecordStore(tmp_path).save("transient", lease_id, {})


@pytest.mark.parametrize("kind", ["", "..", "a/b", "A", "transient\n", "a" * 33])
def test_kinds_are_plain_words(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ValueError, match="kind"):
        RecordStore(tmp_path).save(kind, 1, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("record", [{"version": 3}, {"a": float("nan")}, {"a": "x" * FILE_LIMIT}])
def test_records_that_could_not_be_read_back_are_refused(tmp_path: Path, record: dict[str, Any]) -> None:
    files = RecordStore(tmp_path)
    with pytest.raises(ValueError, match=r"version|JSON|large"):
        files.save("transient", 1, record)
    assert files.load("transient") == []
    files.close()


def test_descriptors_are_not_inherited(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    fd = safe_files.open_regular(path, os.O_RDONLY)
    assert not os.get_inheritable(fd)
    os.close(fd)
