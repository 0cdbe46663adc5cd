# SPDX-License-Identifier: Apache-2.0
"""Rules of the source tree that no tool checks."""

from __future__ import annotations

from pathlib import Path

import pytest

from hosts.selection import AT_LENGTH, BY_RELEASE, LONGEST, THE_SAME

SOURCE = Path(__file__).resolve().parents[2]


def _files(*directories: str) -> list[Path]:
    return [
        file
        for directory in directories
        for file in (SOURCE / directory).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    ]


@pytest.mark.parametrize("directory", ["dbus", "systemd", "packaging"])
def test_directories_named_like_python_packages_hold_no_python(directory: str) -> None:
    """A module in one of them would hide dbus-python, systemd-python or packaging from every import."""
    assert [file for file in _files(directory) if file.suffix == ".py"] == []


def test_every_source_file_names_its_license() -> None:
    """Within the first lines, so that a reader finds it."""
    sources = {
        ".py",
        ".sh",
        ".xml",
        ".conf",
        ".policy",
        ".rules",
        ".service",
        ".sysusers",
        ".md",
        ".toml",
        ".dsl",
    }
    without = [
        file.relative_to(SOURCE)
        for file in _files("agent", "dbus", "systemd", "packaging", "tests")
        if file.suffix in sources - {".md"} and "SPDX-License-Identifier: Apache-2.0" not in _head(file)
    ]
    assert without == []


def _head(file: Path) -> str:
    return "\n".join(file.read_text(encoding="utf-8").splitlines()[:6])


def test_scripts_can_be_run() -> None:
    """A file that names its interpreter is one to run."""
    scripts = [file for file in _files("packaging", ".ci") if _head(file).startswith("#!")]
    maintainer = {
        f"missiond.{name}" for name in ("preinst", "postinst", "prerm", "postrm")
    }  # dpkg sets their mode
    assert scripts
    assert [
        file.name for file in scripts if not file.stat().st_mode & 0o100 and file.name not in maintainer
    ] == []


def test_the_selection_of_hosts_names_what_there_is() -> None:
    """A module or test that was renamed would fall out of a run without a word."""
    hosts = {file.stem: file.read_text() for file in (SOURCE / "tests/hosts").glob("test_*.py")}
    assert {*BY_RELEASE, *AT_LENGTH, *LONGEST} <= hosts.keys()
    of_both = "".join(text for name, text in hosts.items() if name in BY_RELEASE)
    assert [name for name in THE_SAME if f"\ndef {name}(" not in of_both] == []
