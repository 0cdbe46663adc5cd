# SPDX-License-Identifier: Apache-2.0
"""State that was copied from another machine is not taken up."""

from __future__ import annotations

from pathlib import Path

import pytest

from missiond.store.machine import MARK, set_aside_copies

A, B = "0123456789abcdef" * 2, "fedcba9876543210" * 2
NAMES = ("secret", "list")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Its id."""
    file = tmp_path / "machine-id"
    file.write_text(A + "\n")
    return file


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with something in it."""
    place = tmp_path / "state"
    (place / "list").mkdir(parents=True)
    (place / "secret").write_text("1")
    (place / "other").write_text("2")
    return place


def test_what_has_no_mark_is_this_machines(state: Path, machine: Path) -> None:
    assert set_aside_copies(state, NAMES, machine) == []
    assert set_aside_copies(state, NAMES, machine) == []
    assert (state / "secret").read_text() == "1"
    assert A not in (state / MARK).read_text()


def test_a_copy_is_set_aside_once_on_each_machine(state: Path, machine: Path) -> None:
    set_aside_copies(state, NAMES, machine)
    machine.write_text(B)
    assert set_aside_copies(state, NAMES, machine) == ["secret", "list"]
    assert not (state / "secret").exists()
    assert (state / "other").exists()
    assert (state / "copied-1" / "secret").read_text() == "1"
    (state / "secret").write_text("3")
    assert set_aside_copies(state, NAMES, machine) == []
    machine.write_text(A)
    assert set_aside_copies(state, NAMES, machine) == ["secret"]
    assert (state / "copied-1" / "secret").read_text() == "1"
    assert (state / "copied-2" / "secret").read_text() == "3"


def test_a_crash_in_the_middle_is_made_good(
    state: Path, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_aside_copies(state, NAMES, machine)
    machine.write_text(B)

    def crash(_path: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", crash)
        with pytest.raises(OSError, match="space"):
            set_aside_copies(state, NAMES, machine)
    assert set_aside_copies(state, NAMES, machine) == ["secret", "list"]


@pytest.mark.parametrize("content", ["", "uninitialized\n", "x"])
def test_a_machine_without_an_id_that_lasts_tells_nothing(state: Path, machine: Path, content: str) -> None:
    set_aside_copies(state, NAMES, machine)
    machine.write_text(content)
    assert set_aside_copies(state, NAMES, machine) == []
    machine.unlink()
    assert set_aside_copies(state, NAMES, machine) == []
    assert (state / "secret").exists()
