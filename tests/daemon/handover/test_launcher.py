# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from missiond.config.settings import ContinueSettings
from missiond.core.launch.description import LaunchDescription
from missiond.core.missions.missions import Sighting
from missiond.core.tasks.shares import Shares
from missiond.daemon.handover.launcher import LaunchTarget, MissingPrograms
from missiond.daemon.keepalive.keep_alive import KeepAlive
from missiond.daemon.missions.registry import MissionRegistry
from missiond.degraded import Degraded
from missiond.errors import (
    AgentError,
    DistributedServiceFailed,
    InvalidParameter,
    PermissionDenied,
    RemoteNotInstalled,
    SystemServiceFailed,
)
from missiond.host import user_database
from missiond.host.processes.processes import ProcessWatch
from missiond.host.systemd.launcher import Ending, Launcher, Possible, StartFailed
from missiond.host.systemd.survivor_units import KeepFailed
from missiond.host.systemd.unit_managers import ManagersMissing, NotAnswered
from missiond.host.user_database import UserDatabase
from missiond.store.counters import Counters
from missiond.store.record_store import RecordStore

TRANSFER = "ab" * 16
WHAT = LaunchDescription(("/bin/x",), user="ann", label="X", tag=5, app_id="x", environment=("A=b",))
FINE = Possible(True, True, 1 << 30)


class FakePrepared:
    """Ready; `pid` is what becomes of it."""

    def __init__(self, pid: int | None) -> None:
        self.pid = pid
        self.went = self.closed = 0
        self.end: Callable[[], None] | None = None

    def on_end(self, callback: Callable[[], None]) -> None:
        self.end = callback

    async def go(self) -> int | None:
        self.went += 1
        return self.pid

    def close(self) -> None:
        self.closed += 1


class Host:
    """missiond-units, logins and packages, as a test wants them."""

    def __init__(self) -> None:
        self.said: list[Possible | Exception] = [FINE]
        self.pid: int | Exception = 0
        self.logged_in: list[int] = []
        self.login_error: Exception | None = None
        self.reviews = 0
        self.asked: list[str] = []
        self.cleared: list[str] = []
        self.prepared: FakePrepared | Exception = FakePrepared(0)
        self.settings = ContinueSettings()

    async def check(self, uid: int, unit: str, what: LaunchDescription) -> Possible:
        self.asked.append(unit)
        said = self.said.pop(0) if len(self.said) > 1 else self.said[0]
        if isinstance(said, Exception):
            raise said
        return said

    async def start(
        self,
        uid: int,
        unit: str,
        what: LaunchDescription,
        *,
        origin: str = "",
        files: Mapping[str, int] | None = None,
    ) -> int:
        self.asked.append(unit)
        if isinstance(self.pid, Exception):
            raise self.pid
        return self.pid

    async def prepare(
        self,
        uid: int,
        unit: str,
        what: LaunchDescription,
        *,
        origin: str = "",
        files: Mapping[str, int] | None = None,
    ) -> FakePrepared:
        if isinstance(self.prepared, Exception):
            raise self.prepared
        return self.prepared

    async def ended(self, uid: int, unit: str) -> Ending:
        self.cleared.append(unit)
        return Ending(runs=False, how="with exit status 3")

    async def hold_login(self, uid: int) -> None:
        self.logged_in.append(uid)
        if self.login_error is not None:
            raise self.login_error

    def review(self) -> None:
        self.reviews += 1

    async def missing(
        self, program: str, *, install: bool, progress: Callable[[int], None] | None = None
    ) -> None:
        if not install:
            raise RemoteNotInstalled(program)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host()


@pytest.fixture
def users() -> UserDatabase:
    uids = {"ann": 1000, "root": 0, "daemon": 1, "bob": 1001}
    return UserDatabase(lambda name: uids.get(str(name)))


@pytest.fixture
async def target(host: Host, users: UserDatabase, tmp_path: Path) -> Iterator[LaunchTarget]:  # type: ignore[misc]
    missions = MissionRegistry(
        RecordStore(tmp_path), Counters(tmp_path / "c"), ProcessWatch(), Degraded(), Shares(5)
    )
    made = LaunchTarget(
        cast("Launcher", host),
        cast("KeepAlive", host),
        cast("MissingPrograms", host),
        missions,
        lambda: host.settings,
        lambda: 1 << 30,
        users,
    )
    missions.subscribe(made)
    yield made
    missions.close()


async def test_all_is_there(target: LaunchTarget, host: Host) -> None:
    await target.check(WHAT, TRANSFER, 1000)
    assert host.asked == [f"app-missiond-x@{TRANSFER}.service"]
    assert host.logged_in == [1000], "whether or not there is a manager: it may be about to end"
    assert target.needed() == {1000}, "from the look until the mission is over, or will not come"
    target.left("0" * 32)
    assert target.needed() == {1000}
    target.left(TRANSFER)
    assert (target.needed(), host.reviews) == (set(), 2)
    target.left(TRANSFER)
    assert host.reviews == 2


@pytest.mark.parametrize(
    ("said", "size", "error", "text"),
    [
        (replace(FINE, cwd=False), 0, DistributedServiceFailed, "can't enter"),
        (replace(FINE, executable=False), 0, RemoteNotInstalled, "/bin/x"),
        (FINE, 257 << 20, DistributedServiceFailed, "StateMax="),
        (ManagersMissing("gone"), 0, DistributedServiceFailed, "can't be asked: gone"),
        (NotAnswered("ETIMEDOUT"), 0, DistributedServiceFailed, "no answer in time"),
        (NotAnswered("ENOSPC"), 0, DistributedServiceFailed, "no space left in the user's runtime"),
        (replace(FINE, free=1 << 20), 900_000, DistributedServiceFailed, "do not fit"),
        (replace(FINE, free=0), 1, DistributedServiceFailed, "do not fit"),
    ],
)
async def test_what_is_in_the_way(
    target: LaunchTarget,
    host: Host,
    said: Possible | Exception,
    size: int,
    error: type[AgentError],
    text: str,
) -> None:
    host.said = [said]
    with pytest.raises(error, match=text):
        await target.check(WHAT, TRANSFER, size)


async def test_too_little_memory(host: Host, target: LaunchTarget) -> None:
    target._free_memory = lambda: 10 << 20
    with pytest.raises(DistributedServiceFailed, match="memory"):
        await target.check(WHAT, TRANSFER, 1)
    await target.check(WHAT, TRANSFER, 0)


@pytest.mark.parametrize(("free", "size"), [(0, 0), (1 << 20, 0), (1 << 20, 700_000), (64 << 20, 32 << 20)])
async def test_little_space_is_enough_for_little(
    target: LaunchTarget, host: Host, free: int, size: int
) -> None:
    """The runtime directory has a tenth of the memory: on small hosts less than is left free on others."""
    host.said = [replace(FINE, free=free)]
    await target.check(WHAT, TRANSFER, size)


async def test_what_is_missing_is_installed(target: LaunchTarget, host: Host) -> None:
    host.said = [replace(FINE, executable=False), FINE]
    await target.check(WHAT, TRANSFER, 0, install=True)
    host.said = [replace(FINE, executable=False)]
    with pytest.raises(DistributedServiceFailed, match="can't be run by this user"):
        await target.check(WHAT, TRANSFER, 0, install=True)


async def test_users_who_can_t_be_logged_in(
    target: LaunchTarget, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """Where their manager runs, it is asked all the same."""
    host.login_error = KeepFailed("no")
    await target.check(WHAT, TRANSFER, 0)
    assert "login of user 1000 is not held" in caplog.text
    for said, text in ((NotAnswered("ENOENT"), "asked: no"), (NotAnswered("EIO"), "asked: EIO")):
        host.said = [said]
        with pytest.raises(DistributedServiceFailed, match=text):
            await target.check(WHAT, TRANSFER, 0)


@pytest.mark.parametrize("user", ["root", "daemon", "nobody-here", "mapped", "refused", ""])
async def test_only_people(target: LaunchTarget, host: Host, user: str) -> None:
    host.settings = replace(host.settings, user_map=(("mapped", "root"), ("refused", "-")))
    for ask in (
        target.check(replace(WHAT, user=user), TRANSFER, 0),
        target.start(replace(WHAT, user=user), TRANSFER, "", {}),
    ):
        with pytest.raises(PermissionDenied):
            await ask
    assert host.asked == []
    host.settings = replace(host.settings, user_map=(("*", "bob"),))
    assert target.uid_of(WHAT) == 1001


async def test_a_user_database_that_hangs(
    target: LaunchTarget, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else waits for it, and it is no denial."""
    monkeypatch.setattr(user_database, "PATIENCE", 0.05)
    answer = threading.Event()
    target._users = UserDatabase(lambda _: answer.wait() and 1000)
    assert not await target.prepare(WHAT, TRANSFER, "", {})
    for ask in (target.check(WHAT, TRANSFER, 0), target.start(WHAT, TRANSFER, "", {})):
        with pytest.raises(SystemServiceFailed, match="9800004: the user database does not answer"):
            await ask
    assert host.asked == []
    answer.set()
    await target.check(WHAT, TRANSFER, 0)
    assert host.asked != []


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"])


async def test_started_it_is_a_mission_that_says_where_it_comes_from(
    target: LaunchTarget, host: Host
) -> None:
    with sleeper() as process:
        host.pid = process.pid
        mission = await target.start(WHAT, TRANSFER, "d" * 64, {})
        assert (mission.label, mission.tag, mission.continuable) == ("X", 5, True)
        assert mission.registration is not None
        assert mission.registration.origin == "d" * 64
        assert target.needed() == {os.getuid()}
        assert host.logged_in == [1000]
        assert (await target.start(WHAT, TRANSFER, "d" * 64, {})).id == mission.id
        reviews = host.reviews
        target._missions.lost(mission.seen.key)
        assert host.reviews == reviews + 1
        assert target.needed() == set()
        process.kill()


async def test_what_came_back_needs_its_user_as_well(target: LaunchTarget, host: Host) -> None:
    """It was started here for a hand-over, by this run of the agent or by an earlier one."""
    with sleeper() as process:
        host.pid = process.pid
        mission = await target.start(WHAT, TRANSFER, "", {}, own=True)
        seen = {name: getattr(mission.seen, name) for name in Sighting.__slots__}
        unit = f"app-missiond-x@{TRANSFER}.service"
        target._missions.lost(mission.seen.key)
        assert target.needed() == set()
        reviews = host.reviews
        target._missions.found(Sighting(**{**seen, "unit": unit, "key": f"unit/{unit}"}))
        assert (target.needed(), host.reviews) == ({os.getuid()}, reviews + 1)
        target._missions.lost(f"unit/{unit}")
        assert (target.needed(), host.reviews) == (set(), reviews + 2)
        process.kill()


async def test_what_does_not_start(target: LaunchTarget, host: Host) -> None:
    for pid in (StartFailed("its program can't be executed"), 2**31 - 1):
        host.pid = pid
        with pytest.raises(
            DistributedServiceFailed, match=r"not start: its program|once, with exit status 3"
        ):
            await target.start(WHAT, TRANSFER, "", {})
    assert host.cleared == [f"app-missiond-x@{TRANSFER}.service"] * 2


async def test_what_is_prepared_starts_at_the_word(target: LaunchTarget, host: Host) -> None:
    with sleeper() as process:
        prepared = host.prepared = FakePrepared(process.pid)
        assert await target.prepare(WHAT, TRANSFER, "d" * 64, {})
        assert await target.prepare(WHAT, TRANSFER, "d" * 64, {})
        assert (prepared.went, prepared.closed, host.asked) == (0, 0, [])
        assert target.needed() == {1000}
        mission = await target.start(WHAT, TRANSFER, "d" * 64, {})
        assert (mission.seen.leader.pid, prepared.went, host.asked) == (process.pid, 1, [])
        host.pid = process.pid
        await target.start(WHAT, TRANSFER, "d" * 64, {})
        assert prepared.went == 1
        process.kill()


async def test_what_is_no_longer_prepared_is_started_anew(target: LaunchTarget, host: Host) -> None:
    with sleeper() as process:
        host.pid = process.pid
        prepared = host.prepared = FakePrepared(None)
        assert await target.prepare(WHAT, TRANSFER, "", {})
        await target.start(WHAT, TRANSFER, "", {})
        assert (prepared.went, len(host.asked)) == (1, 1)
        prepared = host.prepared = FakePrepared(None)
        assert await target.prepare(WHAT, TRANSFER, "", {})
        assert prepared.end is not None
        prepared.end()
        assert (1000 in target.needed(), prepared.closed) == (False, 1)
        await target.start(WHAT, TRANSFER, "", {})
        assert (prepared.went, len(host.asked)) == (0, 2)
        process.kill()


@pytest.mark.parametrize("error", [ManagersMissing("gone"), NotAnswered("ENOSPC")])
async def test_what_can_t_be_prepared(target: LaunchTarget, host: Host, error: Exception) -> None:
    host.prepared = error
    assert not await target.prepare(WHAT, TRANSFER, "", {})
    assert target.needed() == set()
    assert not await target.prepare(replace(WHAT, user="root"), TRANSFER, "", {})


async def test_only_a_few_are_prepared_and_all_can_be_discarded(target: LaunchTarget, host: Host) -> None:
    prepared = host.prepared = FakePrepared(0)
    done = [await target.prepare(WHAT, f"{number:032x}", "", {}) for number in range(5)]
    assert done == [True, True, True, False, False]
    target.discard(WHAT, f"{1:032x}")
    target.discard(WHAT, f"{4:032x}")
    assert prepared.closed == 1
    target.close()
    assert (prepared.closed, prepared.went, target.needed()) == (3, 0, set())


@pytest.mark.parametrize(
    ("below", "directory"), [("", "/var/home/ann"), ("b c/d", "/var/home/ann/b c/d"), (None, "/home/ann/x")]
)
async def test_a_directory_below_the_home_is_below_the_home_here(
    target: LaunchTarget, below: str | None, directory: str
) -> None:
    known: dict[str | int, str | int] = {"ann": 1000, "~1000": "/var/home/ann/"}
    target._users = UserDatabase(known.get)
    found = await target.here(replace(WHAT, cwd="/home/ann/x"), below)
    assert found == replace(WHAT, cwd=directory)


@pytest.mark.parametrize("below", [7, ["a"], "../bob", "a/..", "a\0b", "a" * 5000])
async def test_what_is_no_directory_below_a_home(target: LaunchTarget, below: object) -> None:
    known: dict[str | int, str | int] = {"ann": 1000, "~1000": "/home/ann"}
    target._users = UserDatabase(known.get)
    with pytest.raises(InvalidParameter):
        await target.here(WHAT, below)
