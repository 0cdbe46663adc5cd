# SPDX-License-Identifier: Apache-2.0
"""Finding programs as the shell does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from missiond.host.processes.executables import SYSTEM_PATH, resolved, search


def make(path: Path, mode: int = 0o755) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def test_the_first_that_can_be_run(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    make(one / "plain", 0o644)
    (two / "directory").mkdir(parents=True)
    later, first = make(two / "plain"), make(one / "both")
    make(two / "both")
    assert search("plain", (one, two)) == str(later)
    assert search("both", (one, two)) == str(first)
    assert search("directory", (one, two)) is None
    assert search("missing", (one, two, tmp_path / "nowhere")) is None
    assert search("", (one, two)) is None


def test_a_path_is_itself(tmp_path: Path) -> None:
    program = make(tmp_path / "bin" / "program")
    assert search(str(program), ()) == str(program)
    assert search(str(make(tmp_path / "bin" / "text", 0o600)), (tmp_path / "bin",)) is None


@pytest.mark.parametrize("name", ["sh", "env", "python3", "no-such-program", "ls\n", "x" * 300])
def test_as_the_library_does(name: str) -> None:
    assert search(name) == shutil.which(name, path=":".join(map(str, SYSTEM_PATH)))


def test_links_are_followed_in_system_directories_only(tmp_path: Path) -> None:
    target = make(tmp_path / "target")
    (tmp_path / "link").symlink_to(target)
    assert resolved(str(tmp_path / "link")) == "link"
    assert resolved("no-such-program") == "no-such-program"
    assert resolved("sh") == Path(shutil.which("sh") or "").resolve().name
