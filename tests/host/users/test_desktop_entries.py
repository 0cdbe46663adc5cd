# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import codecs
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.host.users.desktop_entries import LIMIT, DesktopEntry, find, parse


def test_name_icon_and_terminals(tmp_path: Path) -> None:
    (tmp_path / "a.b.desktop").write_text(
        "[Desktop Entry]\nName=My App\nName[de]=Meine\nIcon=my\nCategories=System;TerminalEmulator;\n"
        "Exec=x %u\nPath=/srv\n"
        "[Desktop Action new]\nName=New\n"
    )
    assert find("a.b", [tmp_path / "none", tmp_path]) == DesktopEntry(
        "My App", "my", True, "x %u", "/srv", is_application=True
    )


@pytest.mark.parametrize(
    "content",
    [
        "[Desktop Entry]\nName=Café\n".encode("utf-8-sig"),
        "[Desktop Entry]\r\nName=Café\r\n".encode(),
        "[Desktop Entry]\nName=Café\n".encode("latin-1"),
        "[Desktop Entry]\nName=Café\n".encode("utf-16"),
        codecs.BOM_UTF16_BE + "[Desktop Entry]\nName=Café\n".encode("utf-16-be"),
        "[Desktop Entry]\nName=Café\n".encode() + "Name[fr]=Été\n".encode("latin-1"),
    ],
)
def test_encodings(content: bytes) -> None:
    entry = parse(content)
    assert entry is not None
    assert entry.name == "Café"


@pytest.mark.parametrize(
    ("lines", "application"),
    [
        ("", True),
        ("NoDisplay=true\n", False),
        ("NoDisplay=true\nDBusActivatable=true\n", True),
        ("Hidden=true\nDBusActivatable=true\n", False),
        ("Type=Link\n", False),
        ("Type=Application\nNoDisplay=false\n", True),
    ],
)
def test_what_people_start(lines: str, application: bool) -> None:
    entry = parse(f"[Desktop Entry]\nName=x\n{lines}".encode())
    assert entry is not None
    assert entry.is_application is application


def test_names_that_are_no_ids(tmp_path: Path) -> None:
    (tmp_path / "x.desktop").write_text("[Desktop Entry]\nName=x\n")
    for name in ("", "../x", "a/b", "-x", ".", "x" * 300, "x\n", "\udcff"):
        assert find(name, [tmp_path]) is None


def test_what_is_no_plain_file_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.desktop")
    (tmp_path / "loop.desktop").symlink_to("loop.desktop")
    (tmp_path / "directory.desktop").mkdir()
    (tmp_path / "link.desktop").symlink_to("fifo.desktop")
    with (tmp_path / "huge.desktop").open("wb") as file:
        file.write(b"[Desktop Entry]\nName=x\n")
        file.truncate(LIMIT + 1)
    for name in ("fifo", "loop", "directory", "link", "huge", "missing"):
        assert find(name, [tmp_path]) is None


@pytest.mark.parametrize(
    "content", [b"", b"Name=x\n", b"[Other]\nName=x\n", b"[Desktop Entry\n", b"\0\xff[["]
)
def test_what_is_no_desktop_entry(content: bytes) -> None:
    assert parse(content) is None


@given(st.binary(max_size=300))
def test_any_content_is_harmless_and_any_name_printable(content: bytes) -> None:
    entry = parse(b"[Desktop Entry]\nName=" + content)
    assert entry is None or entry.name.isprintable()
