# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import pytest

from missiond.config.sources import DIRECTORIES, SearchPath


class Tree:
    """The three directories below a temporary one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.search = SearchPath(tuple(root / str(directory)[1:] for directory in DIRECTORIES))

    def write(self, name: str, text: str = "") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def link(self, name: str, target: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    def names(self) -> list[str]:
        sources, problems = self.search.sources()
        assert problems == []
        return [str(source.path.relative_to(self.root)) for source in sources]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_no_directory_is_no_problem(tree: Tree) -> None:
    assert tree.names() == []


def test_the_system_directories() -> None:
    assert [str(path) for path in SearchPath().directories] == [
        "/usr/lib/missiond",
        "/run/missiond",
        "/etc/missiond",
    ]


def test_main_files_by_importance_then_drop_ins_by_name(tree: Tree) -> None:
    for name in (
        "etc/missiond/missiond.conf",
        "usr/lib/missiond/missiond.conf",
        "etc/missiond/missiond.conf.d/10-z.conf",
        "run/missiond/missiond.conf.d/50-m.conf",
        "usr/lib/missiond/missiond.conf.d/90-a.conf",
        "usr/lib/missiond/missiond.conf.d/README",
        "usr/lib/missiond/missiond.conf.d/95.conf~",
        "usr/lib/missiond/missiond.conf.d/.96.conf",
        "usr/lib/missiond/missiond.conf.d/97.conf.dpkg-old",
    ):
        tree.write(name)
    assert tree.names() == [
        "usr/lib/missiond/missiond.conf",
        "etc/missiond/missiond.conf",
        "etc/missiond/missiond.conf.d/10-z.conf",
        "run/missiond/missiond.conf.d/50-m.conf",
        "usr/lib/missiond/missiond.conf.d/90-a.conf",
    ]


def test_a_drop_in_replaces_its_namesakes(tree: Tree) -> None:
    tree.write("usr/lib/missiond/missiond.conf.d/10.conf")
    tree.write("run/missiond/missiond.conf.d/10.conf")
    assert tree.names() == ["run/missiond/missiond.conf.d/10.conf"]
    tree.write("etc/missiond/missiond.conf.d/10.conf")
    assert tree.names() == ["etc/missiond/missiond.conf.d/10.conf"]


def test_a_link_to_dev_null_masks_downwards_only(tree: Tree) -> None:
    tree.write("usr/lib/missiond/missiond.conf.d/10.conf")
    tree.link("run/missiond/missiond.conf.d/10.conf", os.devnull)
    assert tree.names() == []
    tree.write("etc/missiond/missiond.conf.d/10.conf")
    assert tree.names() == ["etc/missiond/missiond.conf.d/10.conf"]


def test_the_main_file_can_be_masked_too(tree: Tree) -> None:
    tree.write("usr/lib/missiond/missiond.conf")
    tree.link("run/missiond/missiond.conf", "../../../../../../../../../../dev/null")
    assert tree.names() == []
    tree.write("etc/missiond/missiond.conf")
    assert tree.names() == ["etc/missiond/missiond.conf"]


def test_other_links_are_followed_to_their_end(tree: Tree) -> None:
    target = tree.write("opt/shared.conf")
    tree.link("etc/missiond/missiond.conf.d/10.conf", "20.conf")
    tree.link("etc/missiond/missiond.conf.d/20.conf", str(target))
    sources, _ = tree.search.sources()
    assert [source.target for source in sources] == [target, target]
    assert [source.path.name for source in sources] == ["10.conf", "20.conf"]


def test_a_directory_that_cannot_be_listed_is_a_problem(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)
    sources, problems = tree.search.sources()
    assert sources == []
    assert [problem.text for problem in problems] == ["ignored: Permission denied"] * 3


def test_a_file_in_place_of_the_directory_is_as_good_as_none(tree: Tree) -> None:
    tree.write("etc/missiond/missiond.conf.d")
    assert tree.names() == []
