# SPDX-License-Identifier: Apache-2.0
"""The directory is called what its user calls it."""

from __future__ import annotations

from pathlib import Path

import pytest

from missiond.working_directory import working_directory


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this process is: below `data`, to which `home` is a link."""
    (tmp_path / "data/work").mkdir(parents=True)
    (tmp_path / "home").symlink_to("data")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "home/work")
    return tmp_path


def test_with_the_links_of_the_shell(place: Path) -> None:
    assert working_directory({"PWD": f"{place}/home/work"}) == f"{place}/home/work"
    assert working_directory({"PWD": f"{place}/data/work"}) == f"{place}/data/work"


@pytest.mark.parametrize(
    "given",
    ["", "home/work", "/", "{}/other", "{}/gone", "{}/home/../home/work", "{}/home/./work", "{}//home/work",
     "{}/home/work/", "{}/home/wo\0rk"],
)  # fmt: skip
def test_a_name_that_is_none_of_it(place: Path, given: str) -> None:
    assert working_directory({"PWD": given.format(place)}) == f"{place}/data/work"
    assert working_directory({}) == f"{place}/data/work"


def test_a_directory_that_is_gone(place: Path) -> None:
    (place / "data/work").rmdir()
    with pytest.raises(OSError, match="No such file"):
        working_directory({"PWD": f"{place}/home/work"})
