# SPDX-License-Identifier: Apache-2.0
"""Whoever hears of hand-overs from the courier."""

from __future__ import annotations

import asyncio
from typing import Any

from missiond.daemon.handover.messages import HandoverLetter


class Listener:
    """Notes everything."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self._news = asyncio.Event()

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

    async def received(self, letter: HandoverLetter) -> None:
        self.note(letter)

    def progress(self, device_id: str, transfer: str, done: int, size: int, *, sending: bool) -> None:
        self.note("progress", device_id, transfer, done, size, sending)

    def state_complete(self, device_id: str, transfer: str) -> None:
        self.note("complete", device_id, transfer)

    def state_failed(self, device_id: str, transfer: str, reason: str) -> None:
        self.note("failed", device_id, transfer, reason)

    def link_up(self, device_id: str, *, handovers: bool) -> None:
        self.note("up", device_id, handovers)

    def link_down(self, device_id: str) -> None:
        self.note("down", device_id)
