# SPDX-License-Identifier: Apache-2.0
"""Hears when programs of people start and end as units, from the control groups alone.

inotify(7) on the directories of slices tells of units that come and go, and on each unit's `cgroup.events`
whether anything lives in it and whether it is frozen. At rest nothing happens, however many units there are.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from missiond.common.time_slice import SlicedQueue
from missiond.host import inotify
from missiond.host.cgroups import tree
from missiond.host.cgroups.tree import Unit

_LOGGER = logging.getLogger(__name__)
_TOPS = ("user.slice", "system.slice")
MOST_OF_ONE = 8192
"""Followed units of one user, and slices, at most; more than the share of one in MaxMissions=."""
_MOST_WAITING = 16_384
"""Changes of one user that wait to be looked at; beyond that all are looked at once more instead."""
AT_START, AT_ONCE = 1.0, 0.02
"""Seconds for a look at everything before other things are done in between: at the start, and later."""


@dataclass(slots=True)
class _Tracked:
    unit: Unit
    watch: int
    state: tuple[bool, bool] = (False, False)
    waiting: bool = False
    """Whether it is to be looked at."""


class CgroupWatch:
    """The watch on units of the `wanted` users, and on `services` of the host.

    `populated` is called when something lives in a unit (and whether that is frozen), again after each
    change; `ended`, only after that, when nothing lives in it any more. The work is done by `queue`, with the
    uid of the user as its key; both callbacks may add to that work.
    `changed` is called with a sentence where not everything can be followed, and with None when it can again.
    """

    def __init__(
        self,
        mount: Path,
        wanted: Callable[[int], bool],
        populated: Callable[[Unit, bool], None],
        ended: Callable[[Unit], None],
        queue: SlicedQueue,
        changed: Callable[[str | None], None] = lambda _: None,
        services: Collection[str] = (),
    ) -> None:
        self._mount = mount
        self._services = services
        self._wanted = wanted
        self._populated = populated
        self._ended = ended
        self._changed = changed
        self._slices: dict[str, int] = {}
        self._slice_of: dict[int, str] = {}
        self._units: dict[str, _Tracked] = {}
        self._unit_of: dict[int, _Tracked] = {}
        self._units_of: Counter[int | None] = Counter()
        self._slices_of: Counter[int | None] = Counter()
        self._left_out: set[int | None] = set()
        """Users who have more units than are followed."""
        self._turns = queue
        self._looking = 0
        """How many parts of a look at everything are not done."""
        self._again = False
        self._looked: Callable[[], None] = lambda: None
        self._inotify = inotify.Inotify(self._event)

    def start(self, looked: Callable[[], None] = lambda: None) -> None:
        """Scan all units, and follow changes from now on; `looked` is called after the scan.

        It takes a second at most. Where there is more, the rest follows while others have their turns. The
        look is over when the work that the callbacks added is, too.
        """
        self._looked = looked
        self._open_slice("")
        self.rescan()
        self._turns.hurry(AT_START)

    @property
    def looking(self) -> bool:
        """Whether a look at everything is under way."""
        return self._looking > 0

    def rescan(self) -> None:
        """Compare the known with the existing: after lost events, and after the host slept."""
        if self._looking:
            self._again = True
            return
        self._looking = 1
        known: dict[int | None, list[str]] = {}
        for tracked in self._units.values():
            known.setdefault(tracked.unit.uid, []).append(tracked.unit.path)
        for uid, paths in known.items():
            self._look_in_turn(uid, self._leaving(paths))
        self._look_in_turn(None, self._dropping(list(self._slices)))
        for top in _TOPS:
            self._enter(top, looking=True)
        self._part_done()
        self._turns.hurry(AT_ONCE)

    def _look_in_turn(self, uid: int | None, work: Iterator[None]) -> None:
        """Do a part of a look at everything."""
        self._looking += 1

        def part() -> Iterator[None]:
            try:
                yield from work
            finally:
                self._part_done()

        self._turns.add(part, uid)

    def _part_done(self) -> None:
        self._looking -= 1
        if self._looking:
            return
        if self._again:
            self._again = False
            self.rescan()
            return
        looked, self._looked = self._looked, lambda: None
        self._turns.after_all(looked)

    def _leaving(self, paths: list[str]) -> Iterator[None]:
        for path in paths:
            self._leave(path)
            yield

    def _dropping(self, paths: list[str]) -> Iterator[None]:
        for path in paths:
            if path and not (self._mount / path).is_dir():
                self._drop_slice(path)
            yield

    def close(self) -> None:
        """Follow nothing any more."""
        self._inotify.close()

    @property
    def units(self) -> list[Unit]:
        """The populated units."""
        return [tracked.unit for tracked in self._units.values() if tracked.state[0]]

    def _event(self, watch: int, mask: int, name: str) -> None:
        if mask & inotify.OVERFLOW:
            _LOGGER.warning("control groups changed faster than they were read; looking at all of them")
            self.rescan()
        elif (parent := self._slice_of.get(watch)) is not None:
            path = f"{parent}/{name}" if parent else name
            if mask & inotify.IGNORED:
                self._later(parent, lambda: self._drop_slice(parent))
            elif mask & inotify.CREATE:
                self._enter(path)
            elif mask & inotify.DELETE:
                self._later(path, lambda: self._leave(path))
        elif (tracked := self._unit_of.get(watch)) is not None:
            if mask & inotify.IGNORED:
                self._later(tracked.unit.path, lambda: self._leave(tracked.unit.path))
            elif not tracked.waiting:
                tracked.waiting = True
                self._later(tracked.unit.path, lambda: self._look(tracked))

    def _later(self, path: str, work: Callable[[], None]) -> None:
        """Do it when it is the turn of the user whose it is."""
        uid = tree.user_of(path)
        if self._turns.waiting(uid) < _MOST_WAITING:
            self._turns.add(work, uid)
        elif not self._again:
            self._again = True
            if not self._looking:
                self._look_in_turn(None, iter(()))  # after which everything is looked at

    def _enter(self, path: str, *, looking: bool = False) -> None:
        place = tree.place_of(path, self._services)
        if place.uid is not None and not self._wanted(place.uid):
            return
        if place.inner:
            if looking:
                self._look_in_turn(place.uid, self._entering(path, looking=True))
            else:
                self._turns.add(lambda: self._entering(path, looking=False), place.uid)
        elif place.unit:
            self._later(path, lambda: self._enter_unit(path, place.unit, place.uid))

    def _entering(self, path: str, *, looking: bool) -> Iterator[None]:
        """Look into a slice, one by one."""
        if not self._open_slice(path):
            return
        for name in tree.each_child(self._mount / path):
            child = f"{path}/{name}"
            place = tree.place_of(child, self._services)
            if place.inner:
                self._enter(child, looking=looking)
            elif place.unit:
                self._enter_unit(child, place.unit, place.uid)
            yield

    def _open_slice(self, path: str) -> bool:
        """Watch a slice before it is read, so that nothing is missed in between; false where it is gone."""
        uid = tree.user_of(path)
        if path not in self._slices and not self._has_room(self._slices_of, uid):
            return False
        mask = inotify.CREATE | inotify.DELETE | inotify.ONLY_DIRECTORY
        watch = self._add(self._mount / path, mask)
        if watch is not None:
            self._slices_of[uid] += path not in self._slices
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
            self._look(known)
            return
        self._leave(path)
        if not (unit.is_shared or unit.is_mission or unit.may_hold_programs):
            return
        if not self._has_room(self._units_of, uid):
            return
        watch = self._add(directory / "cgroup.events", inotify.MODIFY)
        if watch is not None:
            tracked = self._units[path] = self._unit_of[watch] = _Tracked(unit, watch)
            self._units_of[uid] += 1
            self._look(tracked)

    def _has_room(self, followed: Counter[int | None], uid: int | None) -> bool:
        if followed[uid] < MOST_OF_ONE:
            return True
        if uid not in self._left_out:
            self._left_out.add(uid)
            _LOGGER.warning(
                "user %s has more than %d units or slices; the others are not followed", uid, MOST_OF_ONE
            )
        return False

    def _make_room(self, followed: Counter[int | None], uid: int | None) -> None:
        """Find those that were left out, once half of the others have gone."""
        followed[uid] -= 1
        most = max(self._units_of[uid], self._slices_of[uid])
        if uid in self._left_out and most <= MOST_OF_ONE // 2:
            self._left_out.discard(uid)
            self._enter(f"user.slice/user-{uid}.slice")

    def _look(self, tracked: _Tracked) -> None:
        tracked.waiting = False
        if self._units.get(tracked.unit.path) is not tracked:
            return
        try:
            state = tree.state(self._mount / tracked.unit.path)
        except OSError:
            state = (False, False)
        before, tracked.state = tracked.state, state
        if state != before:
            if state[0]:
                self._populated(tracked.unit, state[1])
            elif before[0]:
                self._ended(tracked.unit)

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
            self._ended(tracked.unit)
        self._make_room(self._units_of, tracked.unit.uid)

    def _drop_slice(self, path: str) -> None:
        """Forget a slice; what was in it is told of by its own watches, or found gone by the next look."""
        watch = self._slices.pop(path, None)
        if watch is not None:
            self._slice_of.pop(watch, None)
            self._inotify.remove(watch)
            self._make_room(self._slices_of, tree.user_of(path))

    def _add(self, path: Path, mask: int) -> int | None:
        try:
            watch = self._inotify.add(path, mask)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._changed(f"missions are not complete: {error.strerror} (fs.inotify in sysctl(8))")
            return None
        return watch
