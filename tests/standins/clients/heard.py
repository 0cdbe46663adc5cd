# SPDX-License-Identifier: Apache-2.0
"""A callback that remembers what it was told."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

Word = TypeVar("Word")


class Heard(Generic[Word]):
    """Callable with one argument; lets a test wait for the calls."""

    def __init__(self) -> None:
        self.words: list[Word] = []
        self._more = asyncio.Event()

    def __call__(self, word: Word) -> None:
        self.words.append(word)
        self._more.set()

    async def until(self, *words: Word) -> None:
        """Wait for as many words, which must be these."""
        while len(self.words) < len(words):
            self._more.clear()
            await self._more.wait()
        assert self.words == list(words)
