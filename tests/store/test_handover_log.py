# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from missiond.core.handover.record import DURABLE, Phase, Record, Role
from missiond.store import safe_files
from missiond.store.handover_log import MOST_FENCES, HandoverFiles
from missiond.store.handover_state_files import keep

ONE, TWO = "1" * 32, "2" * 32
RECORD = Record(
    transfer=ONE,
    role=Role.SOURCE,
    phase=Phase.COMMITTED,
    peer="b" * 64,
    mission=7,
    identity="3" * 32,
    fence=4,
    description={"argv": ["/usr/bin/x", "a\nb", "é"]},
    want={"deep": {"er": [1, 2.5, None, True]}},
    continuation=9,
    asked_here=True,
    size=3,
    sha256="f" * 64,
)


@pytest.fixture
def files(tmp_path: Path) -> HandoverFiles:
    return HandoverFiles(tmp_path / "handovers")


@pytest.mark.parametrize("phase", sorted(DURABLE))
@pytest.mark.parametrize("role", list(Role))
def test_what_was_saved_is_found_by_a_new_daemon(tmp_path: Path, phase: Phase, role: Role) -> None:
    record = Record(transfer=ONE, role=role, phase=phase, peer="b" * 64)
    for found in (record, RECORD):
        files = HandoverFiles(tmp_path)
        files.save(found)
        assert files.load().records == [found]
        assert HandoverFiles(tmp_path).load().records == [found]
        files.close()


def test_only_the_agent_may_read_it(files: HandoverFiles, tmp_path: Path) -> None:
    files.save(RECORD)
    keep(files.open(), ONE, b"abc")
    directory = tmp_path / "handovers"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in sorted(directory.iterdir())] == [0o600, 0o600]
    assert json.loads((directory / f"{ONE}.json").read_bytes())["version"] == 1


def test_it_is_on_the_disk_before_it_is_in_place_and_its_name_before_save_returns(
    files: HandoverFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.open()
    steps: list[str] = []
    fsync, rename = os.fsync, os.rename

    def note_fsync(fd: int) -> None:
        steps.append("directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")
        fsync(fd)

    def note_rename(*args: object, **more: object) -> None:
        steps.append("rename")
        rename(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "rename", note_rename)
    files.save(RECORD)
    keep(files.open(), ONE, b"abc")
    files.save_fence("3" * 32, 4)
    files.remove(ONE)
    assert steps == ["file", "rename", "directory"] * 3 + ["directory"]


def test_a_full_disk_leaves_the_old_record(files: HandoverFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    files.save(RECORD)

    def full(fd: int, data: bytes) -> None:
        os.write(fd, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(safe_files, "write_all", full)
        with pytest.raises(OSError, match="No space"):
            files.save(Record(transfer=ONE, role=Role.SOURCE, phase=Phase.ENDED, peer="b" * 64))
        with pytest.raises(OSError, match="No space"):
            keep(files.open(), TWO, b"abc")
    assert files.load().records == [RECORD]
    assert sorted(os.listdir(files.open())) == [f"{ONE}.json"]  # noqa: PTH208 (a descriptor)


def test_damage_at_any_length_is_named_and_its_state_kept(files: HandoverFiles, tmp_path: Path) -> None:
    files.save(RECORD)
    path = tmp_path / "handovers" / f"{ONE}.json"
    whole = path.read_bytes()
    keep(files.open(), ONE, b"abc")
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        for _ in range(2):  # it stays known as damaged
            found = files.load()
            assert (found.records, found.unreadable) == ([], [ONE])
        assert path.with_suffix(".state").read_bytes() == b"abc"


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"phase": "sending"}, {"transfer": TWO}, {"fence": -1}, {"size": "3"}, {"more": 1}],
)
def test_what_is_no_record_is_damage(files: HandoverFiles, tmp_path: Path, change: dict[str, object]) -> None:
    files.save(RECORD)
    path = tmp_path / "handovers" / f"{ONE}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert files.load().unreadable == [ONE]


def test_a_link_in_place_of_a_record_is_not_followed(files: HandoverFiles, tmp_path: Path) -> None:
    files.save(RECORD)
    path = tmp_path / "handovers" / f"{ONE}.json"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert files.load().unreadable == [ONE]


def test_what_belongs_to_no_record_is_removed(files: HandoverFiles, tmp_path: Path) -> None:
    files.save(RECORD)
    for transfer in (ONE, TWO):
        keep(files.open(), transfer, b"abc")
    directory = tmp_path / "handovers"
    (directory / f"{TWO}.state.part").write_bytes(b"a")
    (directory / f"{ONE}.json.tmp").write_bytes(b"{")
    files.load()
    assert sorted(path.name for path in directory.iterdir()) == [f"{ONE}.json", f"{ONE}.state"]
    files.remove(ONE)
    files.remove(ONE)
    assert list(directory.iterdir()) == []


def test_fences_only_rise_and_the_newest_are_kept(files: HandoverFiles, tmp_path: Path) -> None:
    files.save_fence("a" * 32, 5)
    files.save_fence("a" * 32, 3)
    assert HandoverFiles(tmp_path / "handovers").load().fences == {"a" * 32: 5}
    for number in range(MOST_FENCES + 1):
        files._fences[f"{number:032x}"] = 1
    files.save_fence("a" * 32, 6)
    fences = files.load().fences
    assert len(fences) == MOST_FENCES
    assert fences["a" * 32] == 6


@pytest.mark.parametrize("text", ["", "[]", '{"version":1}', '{"version":1,"fences":{"a":0}}'])
def test_damaged_fences_are_set_aside(files: HandoverFiles, tmp_path: Path, text: str) -> None:
    files.save(RECORD)
    (tmp_path / "handovers" / "fences.json").write_text(text)
    assert files.load().fences == {}
    assert (tmp_path / "handovers" / "fences.json.invalid").exists()


def test_a_directory_that_was_removed_is_made_again(files: HandoverFiles, tmp_path: Path) -> None:
    files.open()
    (tmp_path / "handovers").rmdir()
    files.save(RECORD)
    assert files.load().records == [RECORD]


def test_without_its_directory_nothing_is_guessed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="exists"):
        HandoverFiles(tmp_path / "file").load()
