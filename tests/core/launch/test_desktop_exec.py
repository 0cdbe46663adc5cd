# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import re
import shlex

import pytest
from hypothesis import assume, given
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
        # what the specification leaves out, and desktops take
        ('x "%f"', ["x"]),
        ("x '%U' %%f", ["x", "%f"]),
        ('x --open="%f"', ["x", "--open="]),
        ('x "%%"', ["x", "%"]),
        ("x 100%", ["x", "100%"]),
        (
            'env WINEPREFIX="/home/u/.wine" wine app.exe',
            ["env", "WINEPREFIX=/home/u/.wine", "wine", "app.exe"],
        ),
        (
            r'env WINEPREFIX="/home/u/.wine" wine C:\\\\windows\\\\command\\\\start.exe /Unix %f',
            ["env", "WINEPREFIX=/home/u/.wine", "wine", r"C:\windows\command\start.exe", "/Unix"],
        ),
        (r'wine "C:\\\\Program Files\\\\x.exe"', ["wine", r"C:\Program Files\x.exe"]),
        (r'wine "C:\\Program Files\\x.exe"', ["wine", r"C:\Program Files\x.exe"]),
        ("sh -c 'cd /opt/x && ./run %F'", ["sh", "-c", "cd /opt/x && ./run "]),
        ("sh -c \"cd '/opt/x y' && exec ./run\"", ["sh", "-c", "cd '/opt/x y' && exec ./run"]),
        ("foo ~/bar", ["foo", "~/bar"]),
        ("pkexec env DISPLAY=$DISPLAY x", ["pkexec", "env", "DISPLAY=$DISPLAY", "x"]),
        ("gimp %U;", ["gimp", ";"]),
        ("x a;b|c&d<e>f*g?h(i)`j`", ["x", "a;b|c&d<e>f*g?h(i)`j`"]),
        ('x "a"b c"d"', ["x", "ab", "cd"]),
        ("x '' a''b", ["x", "", "ab"]),
        ("x a # a comment", ["x", "a"]),
        ("x a#b", ["x", "a#b"]),
        (r"/opt/my\\ app/x", ["/opt/my app/x"]),
        ("x\ta\n b", ["x", "a", "b"]),
    ],
)
def test_commands(value: str, words: list[str]) -> None:
    assert command(value) == words


def test_name_and_icon() -> None:
    value = 'x -T "%c" -caption "%c: y" %i'
    assert command(value, "My App", "my") == ["x", "-T", "My App", "-caption", "My App: y", "--icon", "my"]
    assert command(value) == ["x", "-T", "-caption", ": y"]


@pytest.mark.parametrize(
    "value",
    ["", "%u", "x %z", "x 10% y", 'x "a', "x 'a", r"x a\\", r'x "a\\', "A=1 x", '""', '"%f"', "# x"],
)
def test_what_is_no_command(value: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        command(value)


@given(st.text())
def test_nothing_else_is_raised(value: str) -> None:
    with contextlib.suppress(ValueError):
        assert command(value)[0]


_WORDS = st.lists(st.text(), min_size=1).filter(lambda words: bool(words[0]) and "=" not in words[0])


def _in_a_file(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace("\t", r"\t").replace("\r", r"\r")


@given(_WORDS)
def test_words_that_a_shell_would_quote_come_back(words: list[str]) -> None:
    assert command(_in_a_file(shlex.join(words).replace("%", "%%"))) == words


@given(_WORDS)
def test_words_in_double_quotes_come_back(words: list[str]) -> None:
    quoted = [re.sub(r'(["`$\\])', r"\\\1", word).replace("%", "%%") for word in words]
    assert command(_in_a_file(" ".join(f'"{word}"' for word in quoted))) == words


@given(st.text(st.characters(blacklist_characters="%#\r", blacklist_categories=["Cs"])))
def test_without_field_codes_it_is_read_as_a_shell_splits(text: str) -> None:
    """As shlex has it, which has other escapes in double quotes and does not know that of a newline."""
    assume("\\\n" not in text and not ('"' in text and "\\" in text))
    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    if words and words[0] and "=" not in words[0]:
        assert command(_in_a_file(text)) == words
