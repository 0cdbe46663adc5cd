# SPDX-License-Identifier: Apache-2.0
"""The Exec= line of a .desktop file, read as desktops do.

The Desktop Entry Specification ("The Exec key") wants an argument quoted as a whole or not at all, and some
characters quoted. Desktops take more: they split the line as a shell does (g_shell_parse_argv of GLib), with
quotes anywhere, and put nothing in place of `$`, `~`, `;` and their like. What people see in their menu is
what the line means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"s": " ", "n": "\n", "t": "\t", "r": "\r", "\\": "\\"}
_BLANKS = frozenset(" \t\n")
_IN_QUOTES = frozenset('"`$\\\n')
_NOTHING = frozenset("fFuUdDnNvmk")
"""Field codes that give nothing where no file is to be opened: files, and what is obsolete."""


def command(value: str, name: str = "", icon: str = "") -> list[str]:
    """Split the value of Exec= into program and arguments; nothing is to be opened.

    `name` is in place of `%c`, `--icon` and `icon` of `%i`. An argument of field codes that give nothing
    vanishes, quoted or not. Raises ValueError where the line is none: a quote that is not closed, an unknown
    field code, no program.
    """
    kept: list[str] = []
    for word in _split(_unescape(value), name):
        text = "".join(word.chars)
        if not text and "i" in word.codes and icon:
            kept += ["--icon", icon]
        elif text or not word.codes:
            kept.append(text)
    if not kept or not kept[0] or "=" in kept[0]:
        raise ValueError("it names no program")
    return kept


def _unescape(value: str) -> str:
    r"""Undo the escapes that every value of type string has (`\\` above all)."""
    return _ESCAPE.sub(lambda match: _ESCAPES.get(match[1], match[0]), value)


@dataclass(slots=True)
class _Word:
    """An argument as it is read."""

    name: str
    chars: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    is_begun: bool = False

    def add(self, char: str, after: Iterator[str]) -> None:
        """Take a character that stands for itself, or the field code that it begins."""
        self.is_begun = True
        if char != "%":
            self.chars.append(char)
            return
        code = next(after, "%")
        if code == "%":
            self.chars.append(code)
        elif code in _NOTHING or code in "ci":
            self.codes.append(code)
            self.chars += self.name if code == "c" else ""
        else:
            raise ValueError(f"%{code} is no field code")


def _split(text: str, name: str) -> list[_Word]:
    words: list[_Word] = []
    word = _Word(name)
    rest = iter(text)
    for char in rest:
        if char in _BLANKS:
            if word.is_begun:
                words.append(word)
            word = _Word(name)
        elif char == "#" and not word.is_begun:
            _skip_line(rest)
        elif char in "'\"":
            word.is_begun = True
            _quoted(char, rest, word)
        elif char == "\\":
            _escaped(rest, word)
        else:
            word.add(char, rest)
    return [*words, word] if word.is_begun else words


def _quoted(quote: str, rest: Iterator[str], word: _Word) -> None:
    """Read up to the same quote; a backslash escapes in double quotes, and there only what is special."""
    for char in rest:
        if char == quote:
            return
        if char == "\\" and quote == '"':
            following = next(rest, "")
            if following not in _IN_QUOTES:
                word.chars.append(char)
            if following != "\n":
                word.add(following, rest)
        else:
            word.add(char, rest)
    raise ValueError("a quote is not closed")


def _escaped(rest: Iterator[str], word: _Word) -> None:
    """Read the character behind a backslash as it is; a line that ends with one goes on."""
    char = next(rest, "")
    if not char:
        raise ValueError("nothing follows the last backslash")
    if char != "\n":
        word.add(char, rest)


def _skip_line(rest: Iterator[str]) -> None:
    """Pass over a comment."""
    next((char for char in rest if char == "\n"), None)
