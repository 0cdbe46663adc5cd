# SPDX-License-Identifier: Apache-2.0
"""Service managers that say and do what a test wants."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from missiond.core.restart import Service, ServiceState

RUNNING = ServiceState("loaded", "active", "running", "success", "simple", "no", 100, 0, job=False)
WAITING = replace(RUNNING, active="activating", sub="auto-restart", result="signal", restart="always")
STOPPED = replace(RUNNING, active="inactive", sub="dead")
FAILED = replace(RUNNING, active="failed", sub="failed", result="start-limit-hit", restart="always")


class FakeManagers:
    """One service; `state` is what is said of it, `calls` what was asked, an error is raised instead."""

    def __init__(self) -> None:
        self.state = RUNNING
        self.error: Exception | None = None
        self.keep_error: Exception | None = None
        self.calls: list[str] = []
        self._asked = asyncio.Event()

    async def show(self, service: Service) -> ServiceState:
        return self._answer("show", service)

    async def keep(self, service: Service) -> ServiceState:
        if self.keep_error is not None:
            raise self.keep_error
        self.state = replace(self.state, restart="always")
        return self._answer("keep", service)

    async def unkeep(self, service: Service) -> None:
        self._answer("unkeep", service)
        self.state = replace(self.state, restart="no")

    async def asked(self) -> None:
        """Wait for the next question."""
        self._asked.clear()
        await self._asked.wait()

    def _answer(self, verb: str, service: Service) -> ServiceState:
        self.calls.append(f"{verb} {service.name}")
        self._asked.set()
        if self.error is not None:
            raise self.error
        return self.state
