# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import pytest

from missiond.config.ini import read_ini
from missiond.config.search_path import DIRECTORIES, SearchPath

OWNERS = frozenset({os.getuid()})


class Tree:
    """The three directories below a temporary one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.search = SearchPath(tuple(root / str(each)[1:] for each in DIRECTORIES), OWNERS)

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

    for directory in tree.search.directories:
        (directory / "missiond.conf.d").mkdir(parents=True)
    monkeypatch.setattr(os, "listdir", refuse)
    sources, problems = tree.search.sources()
    assert sources == []
    assert [problem.text for problem in problems] == ["ignored: Permission denied"] * 3


def test_a_file_in_place_of_the_directory_is_as_good_as_none(tree: Tree) -> None:
    tree.write("etc/missiond/missiond.conf.d")
    assert tree.names() == []


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("run/missiond/missiond.conf", 0o666),
        ("run/missiond/missiond.conf.d/10.conf", 0o646),
        ("run/missiond/missiond.conf.d", 0o777),
    ],
)
def test_what_others_can_write_is_passed_over_with_a_word(tree: Tree, name: str, mode: int) -> None:
    """A taken-over agent has /run/missiond, and must not set what missiond-peers does."""
    tree.write("run/missiond/missiond.conf")
    tree.write("run/missiond/missiond.conf.d/10.conf", "[Peers]\nPort=8700\n")
    (tree.root / name).chmod(mode)
    sources, problems = tree.search.sources()
    said = [problem.path for problem in problems if "not root's alone" in problem.text]
    assert said == [str(tree.root / name)]
    assert str(tree.root / name) not in [str(source.path) for source in sources]


def test_files_of_other_users_are_passed_over(tree: Tree) -> None:
    """Their links and masks as well."""
    tree.write("run/missiond/missiond.conf.d/10.conf")
    tree.link("run/missiond/missiond.conf.d/20.conf", os.devnull)
    tree.link("run/missiond/missiond.conf", "/etc/hostname")
    tree.write("etc/missiond/missiond.conf.d/20.conf")
    search = SearchPath(tree.search.directories, frozenset({os.getuid() + 1}))
    sources, problems = search.sources()
    assert sources == []
    assert len(problems) == 3  # the main file, and each directory of drop-ins


def test_a_file_that_changes_hands_after_it_was_found_is_not_read(tree: Tree) -> None:
    path = tree.write("etc/missiond/missiond.conf", "[Transient]\nMaxRequests=9\n")
    file = read_ini(path, owners=frozenset({os.getuid() + 1}))
    assert file.assignments == []
    assert file.readable  # what other files say stays in force
    assert "not root's alone" in file.problems[0].text
