# SPDX-License-Identifier: Apache-2.0
"""Programs of their own in services of somebody else's; control groups are directories here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from missiond.common.time_slice import at_once
from missiond.host.cgroups import service_programs, tree
from missiond.host.cgroups.service_programs import ServiceCgroup
from missiond.host.cgroups.tree import Unit
from missiond.host.processes import applications
from missiond.host.processes import stat as process_stat
from missiond.host.processes.bus_services import BusServices
from missiond.host.processes.processes import inspect
from missiond.host.processes.procfs import ProcDirectory
from missiond.host.processes.stat import Stat
from missiond.host.users import desktop_entries
from standins.programs.running import copy_of_shell

WM = "user.slice/user-1000.slice/user@1000.service/session.slice/wayland-wm@hyprland.desktop.service"
BUS = "user.slice/user-1000.slice/user@1000.service/session.slice/dbus.service"
FILES = "org.example.Files"


class World:
    """One control group with real processes; `start` gives them one."""

    def __init__(self, mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = WM
        (mount / "cgroup.controllers").touch()
        monkeypatch.setattr(tree, "_MOUNTS", (mount,))
        monkeypatch.setattr(applications, "unit_of", lambda _: self.path.rpartition("/")[2])
        monkeypatch.setattr(applications, "unified", lambda _: self.path)
        self.mount = mount
        self._processes: list[subprocess.Popen[bytes]] = []
        self.pids: list[int] = []

    @property
    def directory(self) -> Path:
        return self.mount / self.path

    def start(self, name: str, *words: str, session: bool = True) -> int:
        program = os.fsdecode(copy_of_shell(os.fsencode(self.mount / name)))
        process = subprocess.Popen(
            [program, "-c", "echo; read line; true", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=session,
        )
        assert process.stdout is not None
        process.stdout.readline()
        self._processes.append(process)
        self.add(process.pid)
        return process.pid

    def add(self, *pids: int) -> None:
        self.pids += pids
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in self.pids))

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path, monkeypatch)
    yield made
    made.close()


def stat(pid: int, name: bytes, session: int, *, parent: int = 1, start: int = 0, fork: bool = False) -> Stat:
    flags = process_stat._FORK_NO_EXEC if fork else 0
    return Stat(pid, name, "S", parent, session, session, 0, 0, 1, start or pid, flags=flags)


def found(stats: list[Stat], path: Path = Path("/nonexistent")) -> set[int]:
    return set(at_once(ServiceCgroup(path)._jobs(stats)))


def test_what_a_compositor_starts_is_one_by_one(world: World) -> None:
    world.start("hyprland")
    editor, player = world.start("editor"), world.start("player")
    assert set(at_once(ServiceCgroup(world.directory).look())) == {editor, player}
    assert [inspect(pid).app_id for pid in world.pids] == ["wayland-wm", "editor", "player"]


def test_the_services_own_processes_are_none() -> None:
    main = stat(10, b"server", 10)
    assert found([]) == set()
    assert found([main, stat(11, b"helper", 10)]) == set()
    assert found([main, stat(12, b"server", 12, fork=True)]) == set()
    assert found([main, stat(13, b"server", 13)]) == {13}
    assert found([main, stat(14, b"worker", 14, fork=True)]) == {14}


def test_what_is_found_stays_when_the_first_process_is_gone() -> None:
    main, editor = stat(10, b"wm", 10), stat(11, b"editor", 11)
    cgroup = ServiceCgroup(Path("/nonexistent"))
    assert set(at_once(cgroup._jobs([main, editor]))) == {11}
    assert set(at_once(cgroup._jobs([editor]))) == {11}


def test_groups_within_are_the_services_business(world: World) -> None:
    world.start("podman")
    inner = world.directory / "libpod-payload-0a"
    inner.mkdir()
    (inner / "cgroup.procs").write_text(f"{os.getpid()}\n")
    assert at_once(ServiceCgroup(world.directory).look()) == {}
    with ProcDirectory(os.getpid()) as directory:
        assert service_programs.application_in(directory, f"{WM}/inner", WM.rpartition("/")[2]) is None


def test_services_of_the_host_hold_what_is_another_users() -> None:
    """As cron(8) has it; what is of the same user stays the service's."""
    own = process_stat.read(os.getpid())
    with ProcDirectory(os.getpid()) as directory:
        main = stat(1, b"cron", 1)
        stats = {1: main, own.pid: own}
        theirs = service_programs._application_among(stats, own, directory, is_of_user=False)
        assert (theirs is None) is (Path("/proc/1").stat().st_uid == os.getuid())
        assert service_programs._application_among(stats, own, directory, is_of_user=True) is not None


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("wayland-wm@hyprland.desktop.service", True),
        ("sway.service", True),
        ("dbus.service", True),
        ("app-x@1.service", False),
        ("dbus-:1.2-org.x@0.service", False),
        ("snap.x.y.service", False),
        ("user@1000.service", False),
        ("missiond-keep@1000.service", False),
        ("x.scope", False),
    ],
)
def test_what_may_hold_programs(name: str, may: bool) -> None:
    assert Unit("p", name, 1000, 1).may_hold_programs is may
    assert not Unit("p", name, None, 1).may_hold_programs


# --- the bus


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BusServices:
    """One application, and one service that is none."""
    entries, directory = tmp_path / "applications", tmp_path / "services"
    entries.mkdir()
    directory.mkdir()
    (entries / f"{FILES}.desktop").write_text("[Desktop Entry]\nName=Files\nDBusActivatable=true\n")
    (entries / "org.example.Agent.desktop").write_text("[Desktop Entry]\nName=Agent\nNoDisplay=true\n")
    for name, command in {
        FILES: f"{tmp_path}/files --gapplication-service",
        "org.example.Agent": f"{tmp_path}/agent",
        "org.example.Daemon": f"{tmp_path}/daemon",
    }.items():
        text = f"[D-BUS Service]\nName={name}\nExec={command}\n"
        (directory / f"{name}.service").write_text(text)
    find = desktop_entries.find
    monkeypatch.setattr(desktop_entries, "find", lambda name: find(name, (entries,)))
    made = BusServices((tmp_path / "none", directory))
    monkeypatch.setattr(service_programs, "_bus_services", made)
    return made


@pytest.mark.parametrize(
    ("argv", "application"),
    [
        (["{}/files", "--gapplication-service"], FILES),
        (["/usr/bin/python3", "{}/files", "--gapplication-service"], FILES),
        (["/usr/bin/python3", "-I", "{}/files", "--gapplication-service"], FILES),
        (["{}/files", "another"], FILES),
        (["files"], None),
        (["{}/agent"], None),
        (["{}/daemon"], None),
        ([], None),
    ],
)
def test_commands_of_the_bus(
    services: BusServices, tmp_path: Path, argv: list[str], application: str | None
) -> None:
    words = [os.fsencode(word.format(tmp_path)) for word in argv]
    assert services.application(words) == application


def test_a_directory_that_changes_is_read_again(services: BusServices, tmp_path: Path) -> None:
    (tmp_path / "applications" / "org.example.New.desktop").write_text("[Desktop Entry]\nName=New\n")
    assert services.application([b"/opt/new"]) is None
    file = tmp_path / "services" / "org.example.New.service"
    file.write_text("[D-BUS Service]\nName=org.example.New\nExec=/opt/new\n")
    os.utime(tmp_path / "services", ns=(1, 1))
    assert services.application([b"/opt/new"]) == "org.example.New"


def test_applications_that_the_bus_has_started(world: World, services: BusServices) -> None:
    """All are in the session of the bus, and daemons without a .desktop file are nobody's programs."""
    world.path = BUS
    bus = world.start("dbus-daemon")
    files, daemon = world.start("files"), world.start("daemon")
    cgroup = ServiceCgroup(world.directory, services)
    jobs_there = at_once(cgroup.look())
    assert {group: job.application for group, job in jobs_there.items()} == {files: FILES}
    assert [each.pid for each in at_once(cgroup.members(jobs_there[files]))] == [files]
    assert [inspect(pid).app_id for pid in (bus, files, daemon)] == ["dbus", FILES, "daemon"]


def test_children_of_an_application_are_its_own() -> None:
    main, watcher = stat(10, b"dbus-daemon", 10), stat(11, b"dbus-daemon", 10, parent=10)
    files, child = stat(12, b"files", 10, parent=11), stat(13, b"thumbnailer", 10, parent=12)
    orphan = stat(14, b"other", 10, parent=1)
    assert service_programs._roots(main, [main, watcher, files, child, orphan]) == [files, orphan]
