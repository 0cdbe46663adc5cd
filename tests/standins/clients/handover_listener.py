# SPDX-License-Identifier: Apache-2.0
"""Whoever hears of hand-overs from the client."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from missiond.daemon.handover.handovers import Handovers


class Listener:
    """Notes everything."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self._news = asyncio.Event()

    @property
    def handovers(self) -> Handovers:
        """Itself as what the client tells."""
        return cast("Handovers", self)

    @property
    def states(self) -> Listener:
        """Itself as what the client tells of states."""
        return self

    def note(self, *event: Any) -> None:
        self.heard.append(event)
        self._news.set()

    async def until(self, *event: Any) -> None:
        while event not in self.heard:
            self._news.clear()
            await self._news.wait()

    async def until_event(self, kind: str) -> None:
        """Wait for one of this kind."""
        while not any(event[0] == kind for event in self.heard):
            self._news.clear()
            await self._news.wait()

    def link(self, device_id: str, *, up: bool) -> None:
        self.note("up" if up else "down", device_id)

    def progress(self, transfer: str, done: int, *, sending: bool) -> None:
        self.note("progress", transfer, done, sending)

    def complete(self, transfer: str) -> None:
        self.note("complete", transfer)

    def failed(self, transfer: str, reason: str) -> None:
        self.note("failed", transfer, reason)
