# SPDX-License-Identifier: Apache-2.0
"""Hears when programs of people start and end as units, from the control groups alone.

inotify(7) on the directories of slices tells of units that come and go, and on each unit's `cgroup.events`
whether anything lives in it and whether it is frozen. At rest nothing happens, however many units there are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from missiond.host import cgroup_tree, inotify
from missiond.host.cgroup_tree import Unit

_LOGGER = logging.getLogger(__name__)
_TOPS = ("user.slice", "system.slice")


class UnitListener(Protocol):
    """Who wants to know."""

    def populated(self, unit: Unit, *, frozen: bool) -> None:
        """Tell that something lives in it; again after each change."""
        ...

    def ended(self, unit: Unit) -> None:
        """Tell that nothing lives in it any more; only after `populated`."""
        ...


@dataclass(slots=True)
class _Tracked:
    unit: Unit
    watch: int
    state: tuple[bool, bool] = (False, False)


class CgroupWatch:
    """Follows the units of the users that are `wanted`, and `services` of the host.

    `changed` is called with a sentence where not everything can be followed, and with None when it can again.
    """

    def __init__(
        self,
        mount: Path,
        wanted: Callable[[int], bool],
        listener: UnitListener,
        changed: Callable[[str | None], None] = lambda _: None,
        services: Collection[str] = (),
    ) -> None:
        self._mount = mount
        self._services = services
        self._wanted = wanted
        self._listener = listener
        self._changed = changed
        self._slices: dict[str, int] = {}
        self._slice_of: dict[int, str] = {}
        self._units: dict[str, _Tracked] = {}
        self._unit_of: dict[int, _Tracked] = {}
        self._inotify = inotify.Inotify(self._event)

    def start(self) -> None:
        """Look at everything that is there, and follow it from now on."""
        self._open_slice("")
        self.rescan()

    def rescan(self) -> None:
        """Compare what is known with what is there: after lost events, and after the host slept."""
        for tracked in list(self._units.values()):
            self._leave(tracked.unit.path)
        for path in list(self._slices):
            if path and not (self._mount / path).is_dir():
                self._drop_slice(path)
        for top in _TOPS:
            self._enter(top)
        for tracked in list(self._units.values()):
            self._look(tracked)

    def close(self) -> None:
        """Follow nothing any more."""
        self._inotify.close()

    @property
    def units(self) -> list[Unit]:
        """Those in which something lives."""
        return [tracked.unit for tracked in self._units.values() if tracked.state[0]]

    def _event(self, watch: int, mask: int, name: str) -> None:
        if mask & inotify.OVERFLOW:
            _LOGGER.warning("control groups changed faster than they were read; looking at all of them")
            self.rescan()
        elif (parent := self._slice_of.get(watch)) is not None:
            path = f"{parent}/{name}" if parent else name
            if mask & inotify.IGNORED:
                self._drop_slice(parent)
            elif mask & inotify.CREATE:
                self._enter(path)
            elif mask & inotify.DELETE:
                self._leave(path)
        elif (tracked := self._unit_of.get(watch)) is not None:
            if mask & inotify.IGNORED:
                self._leave(tracked.unit.path)
            else:
                self._look(tracked)

    def _enter(self, path: str) -> None:
        place = cgroup_tree.place_of(path, self._services)
        if place.uid is not None and not self._wanted(place.uid):
            return
        if place.inner:
            if self._open_slice(path):
                for name in cgroup_tree.children(self._mount / path):
                    self._enter(f"{path}/{name}")
        elif place.unit:
            self._enter_unit(path, place.unit, place.uid)

    def _open_slice(self, path: str) -> bool:
        """Watch a slice before it is read, so that nothing is missed in between; false where it is gone."""
        mask = inotify.CREATE | inotify.DELETE | inotify.ONLY_DIRECTORY
        watch = self._add(self._mount / path, mask)
        if watch is not None:
            self._slices[path] = watch
            self._slice_of[watch] = path
        return watch is not None

    def _enter_unit(self, path: str, name: str, uid: int | None) -> None:
        directory = self._mount / path
        try:
            unit = Unit(path, name, uid, directory.stat().st_ino)
        except OSError:
            return
        known = self._units.get(path)
        if known is not None and known.unit.inode == unit.inode:
            return
        self._leave(path)
        if not unit.is_shared and not unit.is_mission:
            return
        watch = self._add(directory / "cgroup.events", inotify.MODIFY)
        if watch is not None:
            tracked = self._units[path] = self._unit_of[watch] = _Tracked(unit, watch)
            self._look(tracked)

    def _look(self, tracked: _Tracked) -> None:
        try:
            state = cgroup_tree.state(self._mount / tracked.unit.path)
        except OSError:
            state = (False, False)
        before, tracked.state = tracked.state, state
        if state != before:
            if state[0]:
                self._listener.populated(tracked.unit, frozen=state[1])
            elif before[0]:
                self._listener.ended(tracked.unit)

    def _leave(self, path: str) -> None:
        """Forget what is gone; a directory of this name that is there by now is another one, or was seen."""
        if path in self._slices and not (self._mount / path).is_dir():
            self._drop_slice(path)
        tracked = self._units.get(path)
        if tracked is None:
            return
        try:
            if (self._mount / path).stat().st_ino == tracked.unit.inode:
                return
        except OSError:
            pass
        del self._units[path]
        self._unit_of.pop(tracked.watch, None)
        self._inotify.remove(tracked.watch)
        if tracked.state[0]:
            self._listener.ended(tracked.unit)

    def _drop_slice(self, path: str) -> None:
        watch = self._slices.pop(path, None)
        if watch is not None:
            self._slice_of.pop(watch, None)
            self._inotify.remove(watch)
        for tracked in [each for each in self._units.values() if each.unit.path.startswith(f"{path}/")]:
            self._leave(tracked.unit.path)

    def _add(self, path: Path, mask: int) -> int | None:
        try:
            watch = self._inotify.add(path, mask)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._changed(f"missions are not complete: {error.strerror} (fs.inotify in sysctl(8))")
            return None
        return watch
