# SPDX-License-Identifier: Apache-2.0
"""The running loop's timers on a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest


class _Handle:
    def __init__(self, when: float, call: Callable[[], Any]) -> None:
        self.when = when
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class ClockLoop:
    """Takes what `call_later` is asked for, and does it when time is advanced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self._handles: list[_Handle] = []
        monkeypatch.setattr(asyncio.get_running_loop(), "call_later", self._call_later)

    @property
    def waiting(self) -> int:
        """How many timers are set."""
        return sum(not handle.cancelled for handle in self._handles)

    def advance(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        while due := [each for each in self._handles if each.when <= end and not each.cancelled]:
            handle = min(due, key=lambda each: each.when)
            self._handles.remove(handle)
            self.now = max(self.now, handle.when)
            handle.call()
        self.now = max(self.now, end)

    def _call_later(self, delay: float, call: Callable[..., Any], *arguments: Any) -> _Handle:
        handle = _Handle(self.now + delay, lambda: call(*arguments))
        self._handles.append(handle)
        return handle
