# SPDX-License-Identifier: Apache-2.0
"""What is said of a program that a mission needs and this host does not have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from missiond.errors import RemoteNeedsFreeInstall, RemoteNotInstalled
from missiond.host import packages


class AbsentPrograms:
    """Nothing is installed: what may have packages installed is worth taking over."""

    def __init__(self, package_with: Callable[[str], Awaitable[str | None]] = packages.package_with) -> None:
        self._package_with = package_with

    async def missing(self, program: str, *, install: bool) -> None:
        """Raise RemoteNeedsFreeInstall where a package is known that has it, else RemoteNotInstalled."""
        package = await self._package_with(program)
        if package is None:
            raise RemoteNotInstalled(f"{program!r:.200} is not there, and no package is known to have it")
        asked = "it is not installed by this agent; " if install else ""
        raise RemoteNeedsFreeInstall(
            f"{program!r:.200} is not there; {asked}have {package} installed there first"
        )
