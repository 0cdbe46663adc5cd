# SPDX-License-Identifier: Apache-2.0
"""Ends what is kept of logins: missiond-keep@UID.service and missiond-session@UID.service."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path

from missiond.helper import paths
from missiond.host.processes.tree import CGROUPS
from missiond.host.systemd.survivor_units import KeepFailed

_LOGGER = logging.getLogger(__name__)
_SYSTEMCTL = ("/usr/bin/systemctl", "--no-pager", "--no-ask-password")
PATIENCE = 15.0
"""Seconds for them to end; what ignores SIGTERM is killed by systemd later (TimeoutStopSec=)."""


class KeepStops:
    """In the place of KeepUnits: gathers what is to be stopped, so that it is done at once for all."""

    def __init__(self) -> None:
        self._users: set[int] = set()

    async def start(self, uid: int) -> None:
        """Nobody's login is held by now; raises KeepFailed."""
        raise KeepFailed(f"the login of user {uid} is given back")

    async def stop(self, uid: int) -> None:
        """Have a user's end with the others."""
        self._users.add(uid)

    def stop_all(self) -> bool:
        """Whether all have ended that there are, needed or not."""
        users = sorted(self._users | _kept())
        units = [name.format(uid) for uid in users for name in (paths.KEEPER, "missiond-session@{}.service")]
        if not units:
            return True
        try:
            done = subprocess.run(  # noqa: S603 - systemctl with names of our own
                [*_SYSTEMCTL, "stop", "--", *units],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                timeout=PATIENCE,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            _LOGGER.warning("what was kept of logins is not over yet: %s", error)
            return False
        return done.returncode == 0


def _kept(root: Path = CGROUPS) -> set[int]:
    """Users whose units have a cgroup."""
    found = (paths.keeper_of(f"{path.relative_to(root)}/") for path in root.glob(paths.KEEPERS))
    return {uid for uid in found if uid is not None}
