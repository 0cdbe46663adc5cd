# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from missiond.units.state_files import HandedFiles

TRANSFER = "ab" * 16


@pytest.fixture
def source() -> Iterator[int]:
    fd = os.memfd_create("x")
    os.write(fd, b"state" * 1_000_000)
    yield fd
    os.close(fd)


def modes(path: Path) -> int:
    return path.lstat().st_mode & 0o777


def test_for_its_user_alone(tmp_path: Path, source: int) -> None:
    before = os.umask(0)
    try:
        paths = HandedFiles(tmp_path, TRANSFER).place(
            {"state": (source, 5_000_000), "want_param": (source, 3)}
        )
    finally:
        os.umask(before)
    assert paths["state"] == tmp_path / "missiond" / TRANSFER / "state"
    assert paths["state"].read_bytes() == b"state" * 1_000_000
    assert paths["want_param"].read_bytes() == b"sta"
    assert {modes(path) for path in paths.values()} == {0o600}
    assert modes(tmp_path / "missiond" / TRANSFER) == modes(tmp_path / "missiond") == 0o700
    HandedFiles(tmp_path, TRANSFER).remove()
    HandedFiles(tmp_path, TRANSFER).remove()
    assert list((tmp_path / "missiond").iterdir()) == []


def test_again_replaces(tmp_path: Path, source: int) -> None:
    files = HandedFiles(tmp_path, TRANSFER)
    files.place({"state": (source, 5), "want_param": (source, 5)})
    files.place({"state": (source, 10)})
    assert sorted(path.name for path in files.directory.iterdir()) == ["state"]


def test_links_are_not_followed(tmp_path: Path, source: int) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "missiond").symlink_to(elsewhere)
    with pytest.raises(OSError, match=r".") as caught:
        HandedFiles(tmp_path, TRANSFER).place({"state": (source, 5)})
    assert caught.value.errno in (errno.ELOOP, errno.ENOTDIR)
    (tmp_path / "missiond").unlink()
    (tmp_path / "missiond").mkdir()
    (tmp_path / "missiond" / TRANSFER).symlink_to(elsewhere)
    assert HandedFiles(tmp_path, TRANSFER).place({"state": (source, 5)})["state"].read_bytes() == b"state"
    assert list(elsewhere.iterdir()) == []
    kept = tmp_path / "missiond" / TRANSFER / "state"
    kept.unlink()
    kept.symlink_to(elsewhere / "x")
    HandedFiles(tmp_path, TRANSFER).place({"state": (source, 5)})
    assert list(elsewhere.iterdir()) == []


def test_less_than_was_said_and_what_is_no_file(tmp_path: Path, source: int) -> None:
    read, write = os.pipe()
    for fd, size in ((source, 5_000_001), (read, 1)):
        with pytest.raises(OSError, match=r"instead of|not a regular file"):
            HandedFiles(tmp_path, TRANSFER).place({"state": (fd, size)})
        assert list((tmp_path / "missiond").iterdir()) == []
    os.close(read)
    os.close(write)


def test_what_is_somebody_elses_in_the_way(tmp_path: Path, source: int) -> None:
    directory = tmp_path / "missiond" / TRANSFER
    (directory / "more").mkdir(parents=True)
    with pytest.raises(OSError, match="not empty"):
        HandedFiles(tmp_path, TRANSFER).place({"state": (source, 5)})
