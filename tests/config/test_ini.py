# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from missiond.config.ini import FILE_LIMIT, IniFile, read_ini
from standins.examples import examples


def read(tmp_path: Path, content: bytes) -> IniFile:
    path = tmp_path / "a.conf"
    path.write_bytes(content)
    return read_ini(path)


def lines(file: IniFile) -> list[tuple[int, str, str, str]]:
    return [(item.line, item.section, item.key, item.value) for item in file.assignments]


EXAMPLE = """\
# comment
; comment = 1
[A]
Key=value # not a comment
Key = again = twice
   Indented=1
\tTab =
[B]

Key=b
[A]
Last=\\
  over \\
# comment in between
  lines
"""
EXPECTED = [
    (4, "A", "Key", "value # not a comment"),
    (5, "A", "Key", "again = twice"),
    (6, "A", "Indented", "1"),
    (7, "A", "Tab", ""),
    (12, "A", "Last", "over  lines"),
    (10, "B", "Key", "b"),
]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_reads_what_systemd_reads_with_line_numbers(tmp_path: Path, end: str, mark: bytes) -> None:
    file = read(tmp_path, mark + EXAMPLE.replace("\n", end).encode())
    assert lines(file) == EXPECTED
    assert file.problems == []


def test_names_differ_by_case(tmp_path: Path) -> None:
    file = read(tmp_path, b"[a]\nkey=1\nKEY=2\n[A]\nkey=3\n[DEFAULT]\nkey=4\n")
    assert lines(file) == [
        (2, "a", "key", "1"),
        (3, "a", "KEY", "2"),
        (5, "A", "key", "3"),
        (7, "DEFAULT", "key", "4"),
    ]


@pytest.mark.parametrize(
    ("content", "line", "text"),
    [
        (b"Key=1\n[A]\n", 1, "before the first"),
        (b"[A]\nKey\n", 2, "not of the form"),
        (b"[A]\n=1\n", 2, "not of the form"),
        (b"[A]\nKey: 1\n", 2, "not of the form"),
        (b"[A\nKey=1\n", 2, "not a [Section]"),
        (b"[A] # no\n\nKey=1\n", 3, "not a [Section]"),
        (b"[]\nKey=1\n", 2, "not a [Section]"),
    ],
)
def test_bad_lines_are_named_and_spoil_nothing_else(
    tmp_path: Path, content: bytes, line: int, text: str
) -> None:
    file = read(tmp_path, content + b"[Good]\nKey=good\n")
    assert [item[1:] for item in lines(file)] == [("Good", "Key", "good")]
    assert line in [problem.line for problem in file.problems]
    assert any(text in str(problem) for problem in file.problems)
    assert file.readable


def test_a_header_without_its_bracket_is_reported_and_its_keys_go_nowhere(tmp_path: Path) -> None:
    file = read(tmp_path, b"[Good]\nA=1\n[Bad\nA=2\n")
    assert lines(file) == [(2, "Good", "A", "1")]
    assert [problem.line for problem in file.problems] == [3, 4]


@pytest.mark.parametrize(
    "content", [b"\x7fELF\x01\0\0", b"[A]\nKey=1\0\n", b"[A]\nKey=\x1b[31m\n", os.urandom(4096) + b"\0"]
)
def test_binary_files_are_refused_whole(tmp_path: Path, content: bytes) -> None:
    file = read(tmp_path, content)
    assert not file.readable
    assert [str(problem) for problem in file.problems] == [f"{tmp_path}/a.conf: ignored: not a text file"]


def test_bytes_that_are_not_utf8_spoil_only_their_value(tmp_path: Path) -> None:
    file = read(tmp_path, b"# caf\xe9\n[A]\nGood=1\nBad=\xff\xfe\n")
    assert lines(file) == [(3, "A", "Good", "1"), (4, "A", "Bad", "\udcff\udcfe")]
    assert str(file.assignments[1].problem("odd")).endswith(r"a.conf:4: [A] Bad=\udcff\udcfe: odd")


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    with path.open("wb") as huge:
        huge.truncate(1 << 40)
    file = read_ini(path)
    assert not file.readable
    assert f"larger than {FILE_LIMIT} bytes" in str(file.problems[0])


@pytest.mark.slow
def test_a_file_as_large_as_allowed_is_read(tmp_path: Path) -> None:
    file = read(tmp_path, (b"[A]\n" + b"k=\n" * FILE_LIMIT)[:FILE_LIMIT])
    assert len(file.assignments) > 80_000


@pytest.mark.parametrize("kind", ["fifo", "socket", "directory", "link", "loop", "dangling", "device"])
def test_other_things_than_files_are_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.conf"
    (tmp_path / "target").write_text("[A]\nKey=1\n")
    with socket.socket(socket.AF_UNIX) as bound:
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "socket":
            bound.bind(str(path))
        elif kind == "directory":
            path.mkdir()
        elif kind == "device":
            path = Path("/dev/zero")
        else:
            path.symlink_to({"link": "target", "loop": "a.conf", "dangling": "nowhere"}[kind])
        file = read_ini(path)
    assert not file.readable
    assert file.assignments == []
    assert len(file.problems) == 1
    assert str(file.problems[0]).startswith(f"{path}: ignored: ")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may read everything, so the refusal is played.
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    file = read_ini(tmp_path / "a.conf")
    assert str(file.problems[0]) == f"{tmp_path}/a.conf: ignored: Permission denied"


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,8}", fullmatch=True)
VALUES = st.text(max_size=20).map(lambda text: "".join(filter(str.isprintable, text)).strip())


@settings(deadline=None)
@given(st.dictionaries(NAMES, st.lists(st.tuples(NAMES, VALUES), max_size=4), max_size=4))
def test_what_is_written_is_read_back(sections: dict[str, list[tuple[str, str]]]) -> None:
    text = ""
    for section, items in sections.items():
        text += f"[{section}]\n" + "".join(f"{key}={value}\n" for key, value in items if value[-1:] != "\\")
    with tempfile.TemporaryDirectory() as directory:
        file = read(Path(directory), text.encode())
    expected = [
        (section, key, value)
        for section, items in sections.items()
        for key, value in items
        if value[-1:] != "\\"
    ]
    assert [item[1:] for item in lines(file)] == expected
    assert file.problems == []


@settings(deadline=None, max_examples=examples(300))
@given(
    st.binary(max_size=200)
    | st.text(st.sampled_from("[]=\\#;\r\n\t aA1\x0b\x0c\x85\u2028\ufeff"), max_size=60).map(str.encode)
)
def test_any_content_is_read_without_an_exception_and_its_problems_are_printable(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        file = read(Path(directory), content)
    assert all(str(problem).isprintable() for problem in file.problems)
    assert all("\0" not in item.section + item.key + item.value for item in file.assignments)
