# SPDX-License-Identifier: Apache-2.0
"""Service managers that say and do what a test wants."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from missiond.core.keepalive.service_restart import RestartedService, ServiceState
from missiond.host.systemd.unit_changes import Following
from missiond.host.systemd.unit_managers import UnitManagers

RUNNING = ServiceState("loaded", "active", "running", "success", "simple", "no", 100, 0, job=False)
WAITING = replace(RUNNING, active="activating", sub="auto-restart", result="signal", restart="always")
STOPPED = replace(RUNNING, active="inactive", sub="dead")
FAILED = replace(RUNNING, active="failed", sub="failed", result="start-limit-hit", restart="always")


class UnitManagersStandIn(UnitManagers):
    """One service; `state` is what is said of it, `calls` what was asked, an error is raised instead."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = RUNNING
        self.error: Exception | None = None
        self.keep_error: Exception | None = None
        self.calls: list[str] = []
        self.followed: list[Following] = []
        self.stubborn = False
        """Whether it forgets services that fail, whatever it is told."""
        self._following = asyncio.Event()
        self._asked = asyncio.Event()

    async def show(self, service: RestartedService) -> ServiceState:
        return self._answer("show", service)

    async def keep(self, service: RestartedService) -> ServiceState:
        if self.keep_error is not None:
            raise self.keep_error
        self.state = replace(self.state, restart="always", collects=self.stubborn)
        return self._answer("keep", service)

    async def unkeep(self, service: RestartedService) -> None:
        self._answer("unkeep", service)
        self.state = replace(self.state, restart="no")

    def follow(self, service: RestartedService) -> Following:
        self.followed.append(Following(service, self.followed.remove))
        self._following.set()
        if self.stubborn:
            asyncio.get_running_loop().call_soon(self._tell, self.followed[-1])
        return self.followed[-1]

    def _tell(self, following: Following) -> None:
        following.tell(on=True)

    async def told(self) -> None:
        """Wait until somebody wants to hear of changes, and have been told that there is nothing to tell."""
        await self._following.wait()
        self.followed[-1].tell(on=True)
        await self.asked()
        await asyncio.sleep(0)

    async def asked(self) -> None:
        """Wait for the next question."""
        self._asked.clear()
        await self._asked.wait()

    def _answer(self, verb: str, service: RestartedService) -> ServiceState:
        self.calls.append(f"{verb} {service.name}")
        self._asked.set()
        if self.error is not None:
            raise self.error
        return self.state
