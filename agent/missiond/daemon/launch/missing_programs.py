# SPDX-License-Identifier: Apache-2.0
"""What is said of a program that a mission needs and this host does not have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from missiond.errors import RemoteNeedsFreeInstall, RemoteNotInstalled
from missiond.host import packages
from missiond.host.package_kit import InstallFailed, PackageKitMissing


class Installer(Protocol):
    """PackageKit, as far as it is needed here."""

    async def install(self, package: str, progress: Callable[[int], None] | None = None) -> None:
        """Install it; raises PackageKitMissing, InstallFailed."""
        ...


class MissingPrograms:
    """Nothing is installed unless it is asked for, and by `installer` only, which may refuse.

    What may have packages installed is worth taking over: see missiond(8) for how an administrator allows it.
    """

    def __init__(
        self,
        package_with: Callable[[str], Awaitable[str | None]] = packages.package_with,
        installer: Installer | None = None,
    ) -> None:
        self._package_with = package_with
        self._installer = installer

    async def missing(
        self, program: str, *, install: bool, progress: Callable[[int], None] | None = None
    ) -> None:
        """Have it installed with its package, if `install`; `progress` is told per cents, 0 when it begins.

        Raises RemoteNotInstalled where no package is known that has it, else RemoteNeedsFreeInstall, which
        says what to install by hand, and why that was not done.
        """
        package = await self._package_with(program)
        if package is None:
            raise RemoteNotInstalled(f"{program!r:.200} is not there, and no package is known to have it")
        asked = ""
        if install:
            try:
                if self._installer is not None:
                    if progress is not None:
                        progress(0)
                    await self._installer.install(package, progress)
                    return
                asked = "it is not installed by this agent; "
            except PackageKitMissing:
                asked = "there is no PackageKit that could install it; "
            except InstallFailed as error:
                asked = f"{error}; "
        raise RemoteNeedsFreeInstall(
            f"{program!r:.200} is not there; {asked}have {package} installed there first"
        )
