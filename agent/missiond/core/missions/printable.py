# SPDX-License-Identifier: Apache-2.0
"""The characters of foreign text fit for a terminal: visible ones, and joiners between visible ones.

Control characters, also those above U+007F (C1), marks that turn the direction of writing, and lines' ends
are not among them; nor is a joiner that joins nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
_JOINED = "LMNS"
"""Categories of what words and emoji are made of: letters, marks, numbers, symbols."""


def shown(text: str, instead: Callable[[str], str]) -> str:
    """Replace each character unfit for a terminal."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or _joins(text, at) else instead(char) for at, char in enumerate(text)
    )


def _joins(text: str, at: int) -> bool:
    """Whether a joiner is between two characters that it may join."""
    if text[at] not in _JOINERS or not 0 < at < len(text) - 1:
        return False
    return all(unicodedata.category(char)[0] in _JOINED for char in (text[at - 1], text[at + 1]))
