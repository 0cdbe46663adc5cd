# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from missiond.store import safe_files
from missiond.store.permitted_devices import PermittedDevices

A, B = "a" * 64, "b" * 64


def reread(path: Path) -> PermittedDevices:
    devices = PermittedDevices(path)
    devices.load()
    return devices


def test_kept_and_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "state" / "devices.json"
    devices = reread(path)
    assert A not in devices
    devices.set(A, permitted=False)
    assert not path.exists(), "nothing is written where nothing changes"
    devices.set(A, permitted=True)
    devices.set(B, permitted=True)
    devices.set(A, permitted=False)
    for each in (devices, reread(path)):
        assert (A in each, B in each) == (False, True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"version": 2, "devices": []}', b'{"version": 1}', b"\xff"]
)
def test_what_can_not_be_read_permits_nobody(
    tmp_path: Path,
    content: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "devices.json"
    path.write_bytes(content)
    assert A not in reread(path)
    assert "no device may continue missions here" in caplog.text


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO])
def test_a_file_that_is_not_read_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    path = tmp_path / "devices.json"
    reread(path).set(A, permitted=True)
    whole = path.read_bytes()

    def fails(*_args: object, **_named: object) -> bytes:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(safe_files, "read_regular", fails)
        devices = reread(path)
    assert A not in devices
    [line] = caplog.messages
    assert os.strerror(number) in line
    assert line.endswith("no device may continue missions here")
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert A in reread(path)
    devices.set(B, permitted=True)
    assert B in reread(path)
    assert (tmp_path / "devices.json.invalid").read_bytes() == whole


def test_every_length(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "devices.json"
    reread(path).set(A, permitted=True)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert A not in reread(path)
    assert len(caplog.records) == len(whole)


def test_a_write_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = reread(tmp_path / "devices.json")

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        devices.set(A, permitted=True)
    assert A not in devices
    assert list(tmp_path.iterdir()) == []
