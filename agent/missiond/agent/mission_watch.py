# SPDX-License-Identifier: Apache-2.0
"""Everything that missions are made of, put together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from missiond.agent.degraded import Degraded
from missiond.agent.discovery import Discovery
from missiond.agent.listener_file import ListenerFile
from missiond.agent.missions import Missions
from missiond.agent.peer_listener_file import PeerListenerFile
from missiond.agent.sharing import Sharing
from missiond.agent.snapshots import Snapshots
from missiond.agent.termination import Privileged, Termination
from missiond.config.settings import Settings
from missiond.core.missions import Sighting
from missiond.host import cgroup_tree, jobs
from missiond.host.cgroup_watch import CgroupWatch
from missiond.host.exec_watch import ExecWatch
from missiond.host.process_events import ProcessEvents
from missiond.host.process_stat import Stat
from missiond.host.processes import ProcessWatch
from missiond.state.counters import Counters
from missiond.state.lease_files import LeaseFiles

_LOGGER = logging.getLogger(__name__)
_NOBODY = 65534
_CONTAINERS = 524_288
"""First uid that systemd gives to containers ("Users, Groups, UIDs and GIDs on systemd Systems")."""

_NO_CGROUPS = "no unified control groups: only registered missions are known"
_NO_EXECS = "jobs of shells may be seen late: programs that start cannot be watched"


class MissionWatch:
    """Finds the missions of this host from `start` on."""

    def __init__(
        self,
        settings: Settings,
        files: LeaseFiles,
        counters: Counters,
        degraded: Degraded,
        helper: Privileged,
    ) -> None:
        self._settings = settings.missions
        self._degraded = degraded
        self._mount = cgroup_tree.mount()
        self.missions = Missions(files, counters, ProcessWatch(), degraded, settings.missions.max_missions)
        self.snapshots = Snapshots(self.members, settings.missions.snapshot_interval_ms)
        grace = settings.missions.terminate_grace_ms
        self.termination = Termination(self.missions, self.members, self._mount or Path("/"), helper, grace)
        self.listeners = ListenerFile(files)
        self.peer_listeners = PeerListenerFile(files)
        self.sharing = Sharing(self.missions, self.snapshots, self.is_person, settings.peers.share_users)
        self._discovery: Discovery | None = None
        self._cgroups: CgroupWatch | None = None
        self._programs: ProcessEvents | ExecWatch | None = None

    def start(self) -> None:
        """Remember what an earlier run knew, then look at the host once, and follow it from there."""
        self.missions.load()
        try:
            if self._mount is None:
                self._degraded.set("missions", _NO_CGROUPS)
            else:
                self._follow(self._mount)
        except OSError as error:
            self._degraded.set("missions", f"missions are not followed: {error.strerror} (inotify(7))")
        self.missions.finish()
        self.termination.resume()

    def rescan(self) -> None:
        """Look at everything again: the host slept."""
        if self._cgroups is not None and self._discovery is not None:
            self._cgroups.rescan()
            self._discovery.look_again()

    def moved(self) -> None:
        """Processes went from one control group to another."""
        if self._discovery is not None:
            self._discovery.look_again()

    def configure(self, settings: Settings) -> None:
        """Put new settings in force; whose programs are missions stays as it is."""
        self.missions.most = settings.missions.max_missions
        self.snapshots.interval_ms = settings.missions.snapshot_interval_ms
        self.termination.grace_ms = settings.missions.terminate_grace_ms
        self.sharing.configure(settings.peers.share_users)

    def close(self) -> None:
        """Follow nothing any more; what is known stays known to the next run."""
        ours = (self.termination, self.sharing, self.snapshots, self.missions)
        for part in (self._cgroups, self._programs, self._discovery, *ours):
            if part is not None:
                part.close()

    def _follow(self, mount: Path) -> None:
        discovery = self._discovery = Discovery(mount, self.missions, self.is_person)
        self.missions.on_leader_exit = discovery.leader_exited
        self._programs = _programs(discovery.programs_started)
        self._degraded.set("jobs", None if self._programs else _NO_EXECS)
        self._cgroups = CgroupWatch(
            mount,
            self.is_person,
            discovery,
            lambda text: self._degraded.set("missions", text),
            self._settings.services,
        )
        self._cgroups.start()

    def is_person(self, uid: int) -> bool:
        """Whether missions of this user are shown."""
        low = self._settings.minimum_uid
        return uid in self._settings.users or (low <= uid < _CONTAINERS and uid != _NOBODY)

    def members(self, seen: Sighting) -> tuple[list[Stat], Path | None]:
        """Return its processes, and its control group where it has one of its own."""
        if self._discovery is None:
            return jobs.family(seen.leader.pid, seen.leader.start_ticks), None
        return self._discovery.members(seen)


def _programs(started: Callable[[], None]) -> ProcessEvents | ExecWatch:
    """Where the process connector does not work, the dynamic linker tells of nearly all the same."""
    try:
        events = ProcessEvents(started)
    except OSError as error:
        _LOGGER.info("programs that start are heard of by inotify; no process connector: %s", error.strerror)
        return ExecWatch(started)
    _LOGGER.info("programs that start are heard of by the process connector")
    return events
