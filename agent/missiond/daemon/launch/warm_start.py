# SPDX-License-Identifier: Apache-2.0
"""Prepared starts of missions, waiting for the word of the old host."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, ExitStack

from missiond.core.launch.description import LaunchDescription
from missiond.host.systemd.launcher import Launcher, PreparedLaunch

MOST = 3
"""Prepared starts at a time, each a process; others start without."""


class WarmStarts:
    """Prepared starts by unit."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._held: dict[str, tuple[int, PreparedLaunch, ExitStack]] = {}
        self._coming: set[str] = set()

    async def prepare(
        self,
        uid: int,
        unit: str,
        wanted: AbstractContextManager[None],
        prepare: Callable[[], Awaitable[PreparedLaunch]],
    ) -> bool:
        """Prepare one more start, unless MOST are; `wanted` is left when the start is over.

        Raises what `prepare` does.
        """
        if unit in self._held:
            return True
        if unit in self._coming or len(self._held) + len(self._coming) >= MOST:
            return False
        self._coming.add(unit)
        try:
            with ExitStack() as stack:
                stack.enter_context(wanted)
                prepared = await prepare()
                if unit not in self._coming:  # discarded, or started, meanwhile
                    prepared.close()
                    return False
                self._held[unit] = (uid, prepared, stack.pop_all())
        finally:
            self._coming.discard(unit)
        prepared.on_end(lambda: self._release(unit, prepared))
        return unit in self._held

    async def start(
        self, uid: int, unit: str, what: LaunchDescription, origin: str, files: Mapping[str, int]
    ) -> int:
        """Start a program, at once if prepared, and return the pid; raises as `go` and `start` do."""
        self._coming.discard(unit)
        held = self._held.pop(unit, None)
        if held is not None:
            of, prepared, stack = held
            with stack:
                pid = None
                try:
                    if of == uid:
                        pid = await prepared.go()
                finally:
                    prepared.close()
                if pid is not None:
                    return pid
        return await self._launcher.start(uid, unit, what, origin=origin, files=files)

    def discard(self, unit: str) -> None:
        """End the prepared start of a unit, if there is one."""
        self._coming.discard(unit)
        held = self._held.pop(unit, None)
        if held is not None:
            _, prepared, stack = held
            prepared.close()
            stack.close()

    def close(self) -> None:
        """End all prepared starts."""
        for unit in [*self._coming, *self._held]:
            self.discard(unit)

    def _release(self, unit: str, prepared: PreparedLaunch) -> None:
        held = self._held.get(unit)
        if held is not None and held[1] is prepared:
            self.discard(unit)
