# SPDX-License-Identifier: Apache-2.0
"""The Exec= line of a .desktop file (Desktop Entry Specification, "The Exec key")."""

from __future__ import annotations

import re

_FIELDS = re.compile(r"%(.?)", re.DOTALL)
_DEPRECATED_AND_FILES = frozenset("fFuUdDnNickvm")
_ESCAPES = {"s": " ", "n": "\n", "t": "\t", "r": "\r", "\\": "\\"}
_RESERVED = frozenset(" \t\n'\\><~|&;$*?#()`")
_IN_QUOTES = frozenset('"`$\\')


def command(value: str) -> list[str]:
    """Split the value of Exec= into program and arguments, without field codes: nothing is to be opened.

    Raises ValueError where the line is not as the specification has it.
    """
    words = _split(_unescape(value))
    filled = [(quoted, word if quoted else _without_fields(word), word) for quoted, word in words]
    kept = [word for quoted, word, given in filled if quoted or word or not given]
    if not kept or not kept[0] or "=" in kept[0]:
        raise ValueError("it names no program")
    return kept


def _unescape(value: str) -> str:
    r"""Undo the escapes that every value of type string has (`\\` above all)."""
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[0]), value, flags=re.DOTALL)


def _split(text: str) -> list[tuple[bool, str]]:
    words: list[tuple[bool, str]] = []
    position = 0
    while position < len(text):
        if text[position] == " ":
            position += 1
        elif text[position] == '"':
            word, position = _quoted(text, position + 1)
            words.append((True, word))
        else:
            end = text.find(" ", position)
            end = len(text) if end < 0 else end
            word = text[position:end]
            if any(char in _RESERVED or char == '"' for char in word):
                raise ValueError(f"{word!r:.40} has to be in double quotes")
            words.append((False, word))
            position = end
    return words


def _quoted(text: str, position: int) -> tuple[str, int]:
    """Read an argument from behind its opening quote; the argument, and where the next may begin."""
    word: list[str] = []
    while position < len(text):
        char = text[position]
        if char == '"':
            if text[position + 1 : position + 2] not in ("", " "):
                raise ValueError("an argument is quoted as a whole or not at all")
            return "".join(word), position + 1
        if char == "\\" and text[position + 1 : position + 2] in _IN_QUOTES:
            position += 1
            char = text[position]
        word.append(char)
        position += 1
    raise ValueError("a quote is not closed")


def _without_fields(word: str) -> str:
    def replaced(match: re.Match[str]) -> str:
        if match[1] == "%":
            return "%"
        if match[1] in _DEPRECATED_AND_FILES:
            return ""
        raise ValueError(f"%{match[1]} is no field code")

    return _FIELDS.sub(replaced, word)
