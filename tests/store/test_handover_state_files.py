# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from missiond.store.handover_log import HandoverFiles
from missiond.store.handover_state_files import (
    StateFileWriter,
    WrongState,
    adopt_file,
    keep,
    keep_file,
    open_state,
    settle,
)
from standins.examples import examples

ONE = "1" * 32
DATA = bytes(range(256)) * 5
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def dir_fd(tmp_path: Path) -> Iterator[int]:
    files = HandoverFiles(tmp_path)
    yield files.open()
    files.close()


def read(dir_fd: int) -> bytes:
    with open(open_state(dir_fd, ONE), "rb") as file:  # noqa: PTH123 (a descriptor)
        return file.read()


def test_parts_in_order_make_the_state(dir_fd: int, tmp_path: Path) -> None:
    writer = StateFileWriter(dir_fd, ONE, len(DATA), SHA256)
    for offset in range(0, len(DATA), 100):
        assert writer.write(offset, DATA[offset : offset + 100])
    assert not (tmp_path / f"{ONE}.state").exists()
    assert writer.seal() == (len(DATA), SHA256)
    assert read(dir_fd) == DATA
    assert [path.name for path in tmp_path.iterdir()] == [f"{ONE}.state"]


@settings(deadline=None, max_examples=examples(60))
@given(st.lists(st.tuples(st.integers(0, len(DATA)), st.integers(0, 600)), max_size=30))
def test_repeated_and_early_parts_change_nothing(parts: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = HandoverFiles(name)
        writer = StateFileWriter(directory.open(), ONE, len(DATA), SHA256)
        for offset, length in parts:
            before = writer.have
            assert writer.write(offset, DATA[offset : offset + length]) == (offset <= before)
        writer.write(writer.have, DATA[writer.have :])
        assert writer.seal() == (len(DATA), SHA256)
        assert read(directory.open()) == DATA
        directory.close()


@pytest.mark.parametrize(
    ("size", "sha256", "message"),
    [
        (len(DATA) + 1, SHA256, "bytes came of"),
        (len(DATA) - 1, SHA256, "more than"),
        (len(DATA), "0" * 64, "checksum"),
    ],
)
def test_a_wrong_state_leaves_nothing(
    dir_fd: int, tmp_path: Path, size: int, sha256: str, message: str
) -> None:
    writer = StateFileWriter(dir_fd, ONE, size, sha256)

    def send() -> None:
        writer.write(0, DATA)
        writer.seal()

    with pytest.raises(WrongState, match=message):
        send()
    writer.abandon()
    writer.abandon()
    assert list(tmp_path.iterdir()) == []


def test_no_room_is_known_before_anything_travels(
    dir_fd: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        StateFileWriter(dir_fd, ONE, 1 << 40)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_state_is_one(dir_fd: int) -> None:
    assert keep(dir_fd, ONE, b"") == (0, hashlib.sha256(b"").hexdigest())
    assert read(dir_fd) == b""


def test_a_state_can_come_as_a_file_of_limited_size(dir_fd: int, tmp_path: Path) -> None:
    with (tmp_path / "given").open("w+b") as file:
        file.write(DATA)
        file.flush()
        assert keep_file(dir_fd, ONE, file.fileno(), len(DATA)) == (len(DATA), SHA256)
        assert read(dir_fd) == DATA
        with pytest.raises(OSError, match="larger than"):
            keep_file(dir_fd, ONE, file.fileno(), len(DATA) - 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{ONE}.state", "given"]


def test_a_file_without_a_name_can_become_the_state(dir_fd: int, tmp_path: Path) -> None:
    """In place of what an earlier attempt left; one that has had a name can't."""
    (tmp_path / f"{ONE}.state.part").write_bytes(b"left")
    fd = os.open(tmp_path, os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(fd, DATA)
    assert adopt_file(dir_fd, ONE, fd)
    settle(dir_fd, fd)
    os.close(fd)
    assert read(dir_fd) == DATA
    assert [path.name for path in tmp_path.iterdir()] == [f"{ONE}.state"]
    named = tmp_path / "named"
    unlinked = os.open(named, os.O_RDWR | os.O_CREAT)
    named.unlink()
    for other in (unlinked, os.memfd_create("memory")):
        assert not adopt_file(dir_fd, ONE, other)
        os.close(other)
    assert read(dir_fd) == DATA


def test_a_link_in_its_place_is_not_followed(dir_fd: int, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / f"{ONE}.state.part").symlink_to("victim")
    with pytest.raises(OSError, match=r"symbolic"):
        StateFileWriter(dir_fd, ONE, 3)
    (tmp_path / f"{ONE}.state").symlink_to("victim")
    with pytest.raises(OSError, match=r"symbolic"):
        open_state(dir_fd, ONE)
    assert (tmp_path / "victim").read_text() == "mine"
