# SPDX-License-Identifier: Apache-2.0
"""The steps of `missiond --give-back`."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from missiond import bus_names
from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.bus.wire.address import AddressError
from missiond.config.settings import Settings
from missiond.daemon.keepalive.keep_alive import KeepAlive, Neighbours
from missiond.daemon.keepalive.restart_store import RestartStore
from missiond.daemon.keepalive.session_end import LoginHost
from missiond.degraded import Degraded
from missiond.give_back.drop_ins import take_all_back
from missiond.helper import paths
from missiond.helper.own_rights import OwnRights
from missiond.helper.processes import Users
from missiond.host.processes.tree import CGROUPS
from missiond.host.systemd.logind_sessions import Logins
from missiond.host.systemd.survivor_units import KeepFailed
from missiond.store.record_store import RecordStore

_LOGGER = logging.getLogger(__name__)
TURN = 30.0
"""Seconds to wait for another give-back."""

PATIENCE = 60.0
"""Seconds for restoring processes; logind may hang."""

LOOKS, PAUSE = 10, 0.1
"""Number of looks for the end of the agent, and seconds between looks."""

_NO_BUS = (OSError, AddressError, RemoteError, CallTimeout)
_HELPER = ("/usr/bin/systemctl", "show", "--property=Environment", "--value", "missiond-helper.service")
_SYSTEMCTL = ("/usr/bin/systemctl", "--no-pager", "--no-ask-password")
STOPPING = 15.0
"""Seconds for units to end; systemd kills the deaf ones later (TimeoutStopSec=)."""


def run(runtime: Path, report: Callable[[str], None]) -> int:
    """Undo everything noted in `runtime`, and everything found without notes; the exit status."""
    if os.geteuid() != 0:
        report("missiond --give-back is for root, and this is another user; use sudo")
        return 1
    if asyncio.run(_is_served()):
        report(
            "missiond runs, and gives back what its tasks no longer need; to have it give back all of it, "
            "stop it: systemctl stop missiond"
        )
        return 1
    users = _users()
    with _turn(runtime):
        notes = OwnedFiles(runtime) if runtime.is_dir() else None
        if notes is not None:
            _note_drop_ins(RestartStore(notes))
        done = take_all_back(users)
        stops = KeepStops()
        if notes is not None:
            asyncio.run(_undo(notes, users, stops))
        done = stops.stop_all() and done
        if notes is not None:
            # What was in groups of its own is over now, or back in its session.
            done = asyncio.run(_undo(notes, users, KeepStops())) and done
            notes.close()
    if not done:
        report(
            "not all could be given back; what is left is said above, and missiond --give-back tries again"
        )
    return 0 if done else 1


async def _is_served() -> bool:
    """Whether the agent runs; where there is no bus there is none."""
    try:
        connection = await Connection.open()
    except _NO_BUS:
        return False
    try:
        for _ in range(LOOKS):  # the bus may have yet to notice that it has ended
            if await connection.name_owner(bus_names.BUS_NAME) is None:
                return False
            await asyncio.sleep(PAUSE)
    except _NO_BUS:
        return False
    else:
        return True
    finally:
        await connection.close()


def _note_drop_ins(files: RestartStore) -> None:
    """Write down that they are taken back, so that the agent writes them again for tasks that go on."""
    for task, kept in files.load().items():
        if kept.changed and not kept.undone:
            try:
                files.save(task, replace(kept, undone=True))
            except (OSError, ValueError) as error:
                _LOGGER.warning("%s may not be kept running any more: %s", kept.service.name, error)


async def _undo(notes: OwnedFiles, users: Users, stops: KeepStops) -> bool:
    """Whether all is undone that was done for owners of tasks."""
    async with contextlib.AsyncExitStack() as stack:
        logins = None
        with contextlib.suppress(*_NO_BUS):
            connection = await Connection.open()
            stack.push_async_callback(connection.close)
            logins = LoginHost(Logins(connection), stops)
        if logins is None:
            _LOGGER.warning("no bus: what is kept of sessions does not go back to them")
        keep_alive = KeepAlive(Neighbours(OwnRights(users), logins), notes, Degraded(), Settings().keepalive)
        stack.callback(keep_alive.close)
        keep_alive.load()
        keep_alive.finish()
        try:
            async with asyncio.timeout(PATIENCE):
                await keep_alive.settle()
        except TimeoutError:
            _LOGGER.warning("processes of tasks: no end after %d s", PATIENCE)
        return keep_alive.is_at_rest


def _users() -> Users:
    """Whose processes the helper may touch, and so this may."""
    try:
        done = subprocess.run(_HELPER, check=False, capture_output=True, text=True, timeout=5)  # noqa: S603
        words = done.stdout.replace('"', " ").partition("MISSIOND_SYSTEM_USERS=")[2].split()
        return Users.with_system(" ".join(itertools.takewhile(lambda word: "=" not in word, words)))
    except (OSError, subprocess.TimeoutExpired, KeyError) as error:
        _LOGGER.warning("of users of the system nothing is given back: %s", error)
        return Users()


@contextlib.contextmanager
def _turn(runtime: Path) -> Iterator[None]:
    """Wait for others that do the same; not for ever, since the directory is not root's."""
    try:
        directory = os.open(runtime, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        deadline = time.monotonic() + TURN
        while time.monotonic() < deadline:
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.05)
        yield
    finally:
        os.close(directory)


class KeepStops:
    """A stand-in for KeepUnits: gathers the units to stop, for one stop of all."""

    def __init__(self) -> None:
        self._users: set[int] = set()

    async def start(self, uid: int) -> None:
        """Nobody's login is held by now; raises KeepFailed."""
        raise KeepFailed(f"the login of user {uid} is given back")

    async def stop(self, uid: int) -> None:
        """Have a user's end with the others."""
        self._users.add(uid)

    def stop_all(self) -> bool:
        """Stop all units there are, needed or not; whether all have ended."""
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
                timeout=STOPPING,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            _LOGGER.warning("what was kept of logins is not over yet: %s", error)
            return False
        return done.returncode == 0


def _kept(root: Path = CGROUPS) -> set[int]:
    """Users whose units have a cgroup."""
    found = (paths.keeper_of(f"{path.relative_to(root)}/") for path in root.glob(paths.KEEPERS))
    return {uid for uid in found if uid is not None}


class OwnedFiles(RecordStore):
    """Records read and written as the directory's user: nothing inside leads root astray."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._owner = directory.stat().st_uid

    def save(self, kind: str, lease_id: int, record: dict[str, Any]) -> None:
        """As LeaseFiles."""
        with self._as_owner():
            super().save(kind, lease_id, record)

    def remove(self, kind: str, lease_id: int) -> None:
        """As LeaseFiles."""
        with self._as_owner():
            super().remove(kind, lease_id)

    def load(self, kind: str) -> list[tuple[int, dict[str, Any]]]:
        """As LeaseFiles."""
        with self._as_owner():
            return super().load(kind)

    def reject(self, kind: str, lease_id: int, error: Exception) -> None:
        """As LeaseFiles."""
        with self._as_owner():
            super().reject(kind, lease_id, error)

    @contextlib.contextmanager
    def _as_owner(self) -> Iterator[None]:
        before = os.geteuid()
        if before == self._owner:
            yield
            return
        os.seteuid(self._owner)
        try:
            yield
        finally:
            os.seteuid(before)
