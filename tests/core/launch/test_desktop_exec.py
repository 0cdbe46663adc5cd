# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.core.launch.desktop_exec import command


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("firefox %u", ["firefox"]),
        ("/usr/bin/x --new-window %U --name %c %i", ["/usr/bin/x", "--new-window", "--name"]),
        ("x --file=%f 100%%", ["x", "--file=", "100%"]),
        ('x "a b" c', ["x", "a b", "c"]),
        ('"/opt/my app/x" ""', ["/opt/my app/x", ""]),
        (r'x "\\"quoted\\" \\$HOME \\`y\\` \\\\"', ["x", '"quoted" $HOME `y` \\']),
        (r"x a\sb", ["x", "a", "b"]),
        ('x "%f"', ["x", "%f"]),
    ],
)
def test_commands(value: str, words: list[str]) -> None:
    assert command(value) == words


@pytest.mark.parametrize(
    "value",
    [
        "",
        "%u",
        "x %",
        "x %z",
        'x "a',
        'x "a"b',
        'x a"b"',
        "x $HOME",
        "x `id`",
        "x a;b",
        "A=1 x",
        "x 'a'",
        '""',
    ],
)
def test_what_is_not_as_the_specification_has_it(value: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        command(value)


@given(st.text())
def test_nothing_else_is_raised(value: str) -> None:
    with contextlib.suppress(ValueError):
        assert command(value)[0]
