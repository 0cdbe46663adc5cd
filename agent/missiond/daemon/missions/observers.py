# SPDX-License-Identifier: Apache-2.0
"""Several observers of the missions in the place of one."""

from __future__ import annotations

from missiond.core.missions.missions import Mission
from missiond.daemon.missions.registry import MissionObserver


class MissionObservers:
    """Passes everything on to all of them, in order."""

    def __init__(self, *observers: MissionObserver) -> None:
        self._observers = observers

    def added(self, mission: Mission) -> None:
        """There is a new one."""
        for observer in self._observers:
            observer.added(mission)

    def changed(self, mission: Mission, *properties: str) -> None:
        """Something about it is new."""
        for observer in self._observers:
            observer.changed(mission, *properties)

    def removed(self, mission: Mission) -> None:
        """It is over."""
        for observer in self._observers:
            observer.removed(mission)
