# SPDX-License-Identifier: Apache-2.0
"""The assembly of everything about missions."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Generator
from pathlib import Path

from missiond.common.debounce import Debouncer
from missiond.common.time_slice import SlicedQueue, at_once
from missiond.config.settings import Settings
from missiond.core.missions import people
from missiond.core.missions.missions import Sighting
from missiond.core.tasks.shares import Shares
from missiond.daemon.helper_client import Privileged
from missiond.daemon.missions.listener_store import ListenerStore
from missiond.daemon.missions.registry import MissionRegistry
from missiond.daemon.missions.scanner import MissionScanner
from missiond.daemon.missions.shared_missions import SharedMissions
from missiond.daemon.missions.snapshots import Snapshots
from missiond.daemon.missions.terminate import Termination
from missiond.daemon.missions.user_scanner import Members
from missiond.daemon.peering.peer_listener_store import PeerListenerFile
from missiond.degraded import Degraded
from missiond.host.cgroups import tree, usage
from missiond.host.cgroups.usage import ResourceUsage
from missiond.host.cgroups.watch import CgroupWatch
from missiond.host.processes import jobs
from missiond.host.processes.connector import ProcessEvents
from missiond.host.processes.exec_inotify import ExecWatch
from missiond.host.processes.processes import ProcessWatch
from missiond.host.processes.stat import Stat
from missiond.host.users.user_names import UserNames
from missiond.store.counters import Counters
from missiond.store.record_store import RecordStore

_LOGGER = logging.getLogger(__name__)
_NO_CGROUPS = "no unified control groups: only registered missions are known"
_LEFT_OUT_DELAY = 5.0
"""Seconds from the end of a mission to the look for those that there was no room for."""
_SLICE, _REST = 0.003, 0.006
"""Seconds of looking, and of rest: who makes control groups in a loop has a third of a processor at most."""
_LOOKING = "missions are still being looked for: there are very many control groups"
_NO_EXECS = "jobs of shells may be seen late: programs that start cannot be watched"


class MissionWatch:
    """Finds the missions of this host from `start` on."""

    def __init__(
        self,
        settings: Settings,
        files: RecordStore,
        counters: Counters,
        degraded: Degraded,
        helper: Privileged,
        person_of: Callable[[int], int],
        bus_id: str,
    ) -> None:
        self._settings = settings.missions
        self._degraded = degraded
        self._loop = asyncio.get_running_loop()
        self._names = UserNames(self._named)
        self._mount = tree.mount()
        shares = Shares(settings.missions.max_missions)
        self._room = Debouncer(self._look_for_left_out, _LEFT_OUT_DELAY)
        self.missions = MissionRegistry(
            files,
            counters,
            ProcessWatch(),
            degraded,
            shares,
            person_of,
            bus_id=bus_id,
            on_room=self._room.ask,
            on_leader_exit=self._leader_exited,
        )
        self.snapshots = Snapshots(self.usage, settings.missions.snapshot_interval_ms)
        grace = settings.missions.terminate_grace_ms
        self.termination = Termination(self.missions, self.members, self._mount or Path("/"), helper, grace)
        self.listeners = ListenerStore(files, bus_id)
        self.peer_listeners = PeerListenerFile(files, bus_id)
        self.sharing = SharedMissions(
            self.missions, self.snapshots, self.is_person, settings.peers.share_users
        )
        self._queue = SlicedQueue(_SLICE, _REST)
        self._has_looked = False
        self._discovery: MissionScanner | None = None
        self._cgroups: CgroupWatch | None = None
        self._programs: ProcessEvents | ExecWatch | None = None

    def start(self) -> None:
        """Load the state of an earlier run, then scan the host once, and follow changes from there.

        Where the look takes more than a second, the rest of it follows while others are served.
        """
        self.missions.load()
        try:
            if self._mount is None:
                self._degraded.set("missions", _NO_CGROUPS)
            else:
                self._follow(self._mount)
                return
        except OSError as error:
            self._degraded.set("missions", f"missions are not followed: {error.strerror} (inotify(7))")
        self._looked()

    def rescan(self) -> None:
        """Look at everything again: the host slept."""
        if self._cgroups is not None and self._discovery is not None:
            self._cgroups.rescan()
            self._discovery.look_again()

    def moved(self) -> None:
        """Look again after processes went from one control group to another."""
        if self._discovery is not None:
            self._discovery.look_again()

    def configure(self, settings: Settings) -> None:
        """Apply new settings; the users with missions stay as before."""
        self.missions.shares.configure(settings.missions.max_missions)
        self.snapshots.interval_ms = settings.missions.snapshot_interval_ms
        self.termination.grace_ms = settings.missions.terminate_grace_ms
        self.sharing.configure(settings.peers.share_users)

    def _look_for_left_out(self) -> None:
        """There was no room for all; now there is some."""
        if self._discovery is not None:
            self._discovery.tell_again()

    def close(self) -> None:
        """Stop following; the state on disk is for the next run."""
        self._queue.close()
        ours = (self.termination, self.sharing, self.snapshots, self.missions)
        for part in (self._room, self._cgroups, self._programs, self._discovery, *ours):
            if part is not None:
                part.close()

    def _leader_exited(self, seen: Sighting) -> None:
        if self._discovery is None:
            self.missions.lost(seen.key)
        else:
            self._discovery.leader_exited(seen)

    def _follow(self, mount: Path) -> None:
        discovery = MissionScanner(mount, self.missions, self.is_person, self._queue)
        self._discovery = discovery
        self._programs = _programs(discovery.programs_started)
        self._degraded.set("jobs", None if self._programs else _NO_EXECS)
        self._cgroups = CgroupWatch(
            mount,
            self.is_person,
            discovery.populated,
            discovery.ended,
            self._queue,
            lambda text: self._degraded.set("missions", text),
            self._settings.services,
        )
        self._cgroups.start(self._looked)
        if not self._has_looked:
            self._degraded.set("missions looked for", _LOOKING)

    def _looked(self) -> None:
        """Everything was looked at; what an earlier run knew and is not there is over."""
        self._has_looked = True
        self._degraded.set("missions looked for", None)
        self.missions.finish()
        self.termination.resume()

    def is_person(self, uid: int) -> bool:
        """Whether missions of this user are shown."""
        known = self._settings
        return uid in known.users or people.is_person(uid, self._names.has, known.minimum_uid)

    def _named(self, uid: int) -> None:
        """Hear from a thread that a uid has a name, so that it may be a person's."""
        _LOGGER.debug("uid %d has a name", uid)
        with contextlib.suppress(RuntimeError):  # the loop is over
            self._loop.call_soon_threadsafe(self._look_afresh)

    def _look_afresh(self) -> None:
        """Look at everything as for the first time: whose it is may be known now."""
        if self._cgroups is not None and self._discovery is not None:
            self._cgroups.rescan()
            self._discovery.tell_again()
        self.sharing.look_again()

    async def members(self, seen: Sighting) -> tuple[list[Stat], Path | None]:
        """Return the processes of a mission, and the control group where there is an own one."""
        return await self._queue.result(self._members(seen), seen.uid)

    def members_now(self, seen: Sighting) -> tuple[list[Stat], Path | None]:
        """Return the same without a wait for the turn of the user."""
        return at_once(self._members(seen))

    async def usage(self, seen: Sighting) -> ResourceUsage | None:
        """Measure a mission; None where no process is left."""
        return await self._queue.result(self._measured(seen), seen.uid)

    def _members(self, seen: Sighting) -> Members:
        if self._discovery is None:
            return jobs.family(seen.leader.pid, seen.leader.start_ticks), None
        return (yield from self._discovery.members(seen))

    def _measured(self, seen: Sighting) -> Generator[None, None, ResourceUsage | None]:
        stats, group = yield from self._members(seen)
        return (yield from usage.measure(stats, seen.leader.pid, group)) if stats else None


def _programs(started: Callable[[], None]) -> ProcessEvents | ExecWatch:
    """Where the process connector does not work, the dynamic linker tells of nearly all the same."""
    try:
        events = ProcessEvents(started)
    except OSError as error:
        _LOGGER.info("programs that start are heard of by inotify; no process connector: %s", error.strerror)
        return ExecWatch(started)
    _LOGGER.info("programs that start are heard of by the process connector")
    return events
