# SPDX-License-Identifier: Apache-2.0
"""Giving back without the agent: whose the notes stay, what hangs, and who may ask."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from missiond.give_back import drop_ins, run
from missiond.give_back.run import KeepStops, OwnedFiles
from missiond.host.systemd.survivor_units import KeepFailed
from missiond.store.record_store import RecordStore

OTHER = 54321
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="another user's files are made by root")


@ROOT
def test_notes_stay_whose_they_were(tmp_path: Path) -> None:
    notes = tmp_path / "run"
    notes.mkdir(mode=0o711)
    os.chown(notes, OTHER, OTHER)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    tmp_path.chmod(0o711)
    files = OwnedFiles(notes)
    files.save("restart", 7, {"a": 1})
    assert (notes / "restart/7").stat().st_uid == OTHER
    assert files.load("restart") == [(7, {"a": 1})]
    assert os.geteuid() == 0
    (notes / "protection").symlink_to("/etc")
    assert files.load("protection") == []
    files.remove("restart", 7)
    assert list((notes / "restart").iterdir()) == []
    files.close()


def test_notes_that_make_no_sense_are_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = RecordStore(tmp_path)
    files.save("restart", 1, {"a": 1})
    (tmp_path / "restart/2").write_text('{"version":2}')
    (tmp_path / "restart/3").write_text('{"version":1,')
    mine = OwnedFiles(tmp_path)
    assert mine.load("restart") == [(1, {"a": 1})]
    mine.close()
    assert caplog.text.count("is not readable") == 2


def test_one_that_hangs_is_ended() -> None:
    begun = time.monotonic()
    child = drop_ins._fork(lambda: time.sleep(60))
    assert not drop_ins._wait(child, begun + 0.1)
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("number", [None, errno.EIO])
def test_what_a_child_could_do_is_told(number: int | None) -> None:
    def work() -> None:
        if number is not None:
            raise OSError(number, "no")

    assert drop_ins._wait(drop_ins._fork(work), time.monotonic() + 20) is (number is None)


async def test_no_login_is_held_any_more() -> None:
    with pytest.raises(KeepFailed):
        await KeepStops().start(1000)


def test_root_alone_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert run.run(tmp_path, said.append) == 1
    assert "is for root" in said[0]


async def test_without_a_bus_nobody_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    assert not await run._is_served()


def test_whoever_holds_the_directory_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But not for ever."""
    monkeypatch.setattr(run, "TURN", 0.2)
    begun = time.monotonic()
    with run._turn(tmp_path), run._turn(tmp_path):
        assert time.monotonic() - begun >= 0.2
    with run._turn(tmp_path / "none"):
        pass
