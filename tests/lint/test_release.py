# SPDX-License-Identifier: Apache-2.0
"""packaging/release, in a small repository of its own whose checks and build are stand-ins."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2]
PARTS = ["agent/missiond/__init__.py", "packaging/release", "packaging/lib/common.sh", "packaging/debian"]
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- Something.\n"
# a build, or tests, that do nothing; the build says where its package is
STANDIN = '#!/bin/sh\n[ ! -e {broken} ] || exit 1\n[ "$1" != dist ] || echo dist/package\n'

pytestmark = pytest.mark.skipif(
    not (shutil.which("git") and shutil.which("dpkg")), reason="takes git and dpkg"
)


class Clone:
    """A repository with what a release writes to."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "clone"
        for part in PARTS:
            (self.path / part).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (SOURCE / part).is_dir() else shutil.copy
            copy(SOURCE / part, self.path / part)
        (self.path / "CHANGELOG.md").write_text(CHANGELOG)
        for name in ("test", "build-deb"):
            (self.path / "packaging" / name).write_text(STANDIN.format(broken=directory / f"broken-{name}"))
            (self.path / "packaging" / name).chmod(0o755)
        self.git("init", "--quiet")
        self.commit()

    def git(self, *words: str) -> str:
        """Run git; what it prints."""
        own = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
        for who in ("AUTHOR", "COMMITTER"):
            own |= {f"GIT_{who}_NAME": "a", f"GIT_{who}_EMAIL": "a@example.org"}
        self.environment = os.environ | own
        done = subprocess.run(
            ["git", *words], check=False, cwd=self.path, env=self.environment, capture_output=True
        )
        return (done.stdout + done.stderr).decode().strip()

    def commit(self) -> None:
        """Have all of it committed."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=a")

    def release(self, *words: str) -> tuple[int, str]:
        """Exit status, and what was said."""
        program = self.path / "packaging/release"
        done = subprocess.run(
            [program, *words], check=False, env=self.environment, capture_output=True, timeout=50
        )
        return done.returncode, (done.stdout + done.stderr).decode()

    def read(self, name: str) -> str:
        return (self.path / name).read_text()


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_what_is_written_and_tagged(clone: Clone) -> None:
    status, said = clone.release("7.8.9")
    assert (status, said.splitlines()[0]) == (0, "dist/package"), said
    assert '__version__ = "7.8.9"\n' in clone.read("agent/missiond/__init__.py")
    first = "## [Unreleased]\n\n## [7.8.9] - DATE\n\n### Added\n\n- Something.\n"
    assert re.sub(r"\d{4}-\d\d-\d\d", "DATE", clone.read("CHANGELOG.md")) == f"# Changelog\n\n{first}"
    versions = re.findall(
        r"^missiond \((.*)\) unstable", clone.read("packaging/debian/changelog"), re.MULTILINE
    )
    assert versions[0] == "7.8.9"
    assert len(versions) > 1
    assert clone.git("status", "--porcelain") == ""
    assert clone.git("log", "-1", "--format=%s") == "release: 7.8.9"
    assert clone.git("cat-file", "-t", "v7.8.9") == "tag"
    assert clone.git("rev-parse", "v7.8.9^{}") == clone.git("rev-parse", "HEAD")


def test_the_first_release_takes_the_version_that_is_there(clone: Clone) -> None:
    version = re.findall(r"\((.*)\)", clone.read("packaging/debian/changelog"))[0]
    status, said = clone.release(version)
    assert status == 0, said
    assert clone.read("packaging/debian/changelog").count(f"missiond ({version})") == 1


def test_the_changelogs_are_the_packages(clone: Clone) -> None:
    parsed = subprocess.run(
        ["dpkg-parsechangelog", "--file=packaging/debian/changelog", "--show-field=Version"],
        cwd=clone.path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert parsed.stdout.strip() == re.findall(r'__version__ = "(.*)"', clone.read(PARTS[0]))[0]
    assert parsed.stderr == ""


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "usage"),
        (["--help"], "usage"),
        (["1.2"], "is no version"),
        (["01.2.3"], "is no version"),
        (["0.0.1"], "is older than"),
    ],
    ids=repr,
)
def test_what_is_no_version_for_it(clone: Clone, words: list[str], why: str) -> None:
    status, said = clone.release(*words)
    assert (status, why in said) == (1, True), said


def test_a_version_only_once(clone: Clone) -> None:
    clone.git("tag", "v7.8.9")
    assert "there is a tag v7.8.9 already" in clone.release("7.8.9")[1]


def test_nothing_uncommitted(clone: Clone) -> None:
    (clone.path / "new").touch()
    status, said = clone.release("7.8.9")
    assert (status, "commit or take away" in said) == (1, True)


def test_nothing_to_tell(clone: Clone) -> None:
    (clone.path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## [Unreleased]\n\n## [0.0.1] - 2026-01-01\n\n- Old.\n"
    )
    clone.commit()
    status, said = clone.release("7.8.9")
    assert (status, "says nothing below [Unreleased]" in said) == (1, True)


@pytest.mark.parametrize("what", ["test", "build-deb"])
def test_what_is_red_leaves_all_as_it_was(clone: Clone, what: str) -> None:
    (clone.path.parent / f"broken-{what}").touch()
    head = clone.git("rev-parse", "HEAD")
    status, _ = clone.release("7.8.9")
    assert status == 1
    assert (clone.git("rev-parse", "HEAD"), clone.git("status", "--porcelain")) == (head, "")
    assert clone.git("tag") == ""
    assert "7.8.9" not in clone.read("agent/missiond/__init__.py")
