# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import replace

import pytest

from missiond.core.launch.description import LaunchDescription
from missiond.core.missions.missions import Leader, Mission, Registration, Sighting
from missiond.daemon.handover import launch_description
from missiond.errors import DistributedServiceFailed
from missiond.host.processes.procfs import ProcDirectory
from missiond.host.user_database import USERS
from missiond.host.users import desktop_entries
from missiond.host.users.desktop_entries import DesktopEntry

SEEN = Sighting("unit/1", Leader(5, 6), os.getuid(), "org.example.X", "X", "icon", 7)
ALLOWED = Registration(
    argv=("/bin/x", "y"), cwd="/srv", environment=("A=b",), relaunch=True, tag=3, dropped=("LD_PRELOAD",)
)


def mission(registration: Registration | None) -> Mission:
    return Mission(1, SEEN, registration=registration)


def test_as_registered() -> None:
    found, dropped = launch_description.describe(mission(replace(ALLOWED, properties=("Nice=1",), label="L")))
    assert found.argv == ("/bin/x", "y")
    assert (found.cwd, found.environment, found.properties) == ("/srv", ("A=b",), ("Nice=1",))
    assert (found.label, found.icon, found.tag, found.app_id) == ("L", "icon", 3, "org.example.X")
    assert found.user == pwd.getpwuid(os.getuid()).pw_name
    assert dropped == ("LD_PRELOAD",)


@pytest.mark.parametrize("registration", [None, Registration(argv=("/bin/x",))])
def test_what_nobody_allowed(registration: Registration | None) -> None:
    with pytest.raises(DistributedServiceFailed, match="can't go on elsewhere"):
        launch_description.describe(mission(registration))
    assert not launch_description.may_relaunch(mission(registration))


@pytest.mark.parametrize(
    ("home", "directory", "found"),
    [
        ("/home/a", "/home/a", ""),
        ("/home/a/", "/home/a/b c/d", "b c/d"),
        ("/home/a", "/home/ab", None),
        ("/home/a", "/srv/home/a", None),
        ("/home/a", "/home/a/../b", None),
        ("/home/a", "", None),
        ("/", "/srv", None),
        ("", "/srv", None),
    ],
)
def test_a_directory_below_the_home(
    monkeypatch: pytest.MonkeyPatch, home: str, directory: str, found: str | None
) -> None:
    monkeypatch.setattr(USERS, "home_of", lambda _: home)
    assert launch_description.below_home(mission(None), directory) == found


@pytest.mark.parametrize(("umask", "nice"), [(0o077, 19), (0o002, 0)])
def test_umask_and_nice_value_are_those_of_the_program(umask: int, nice: int) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    with subprocess.Popen(
        ["cat"], stdin=subprocess.PIPE, umask=umask, preexec_fn=lambda: os.nice(nice)
    ) as cat:
        with ProcDirectory(cat.pid) as directory:
            leader = Leader(cat.pid, directory.start_ticks())
        what = LaunchDescription(("/bin/x",))
        found = launch_description.with_habits(replace_leader(leader), what)
        nicer = min(19, own + nice)
        assert (found.umask, found.properties) == (umask, (f"Nice={nicer}",) if nicer > 0 else ())
        named = launch_description.with_habits(replace_leader(leader), replace(what, properties=("Nice=3",)))
        assert named.properties == ("Nice=3",)
        another = Leader(leader.pid, leader.start_ticks + 1)
        assert launch_description.with_habits(replace_leader(another), what) == what
        registered = Mission(1, replace(SEEN, leader=another), registration=ALLOWED, registrant=leader)
        assert launch_description.with_habits(registered, what).umask == umask
        cat.communicate()


def replace_leader(leader: Leader) -> Mission:
    return Mission(1, replace(SEEN, leader=leader), registration=ALLOWED)


def test_consent_to_a_start_without_state() -> None:
    assert launch_description.may_relaunch(mission(ALLOWED))
    asked = mission(Registration(continuable=True))
    assert asked.continuable
    assert not launch_description.may_relaunch(asked)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (None, "no desktop entry"),
        (DesktopEntry("X", "", False), "no desktop entry"),
        (DesktopEntry("X", "", False, "no-such-program %u"), "is not there"),
        (DesktopEntry("X", "", False, "x 'y"), "not closed"),
        (DesktopEntry("X", "", False, "sh -c true %U", "/srv"), ""),
    ],
)
def test_of_a_desktop_entry(monkeypatch: pytest.MonkeyPatch, entry: DesktopEntry | None, said: str) -> None:
    monkeypatch.setattr(desktop_entries, "find", lambda _: entry)
    there = mission(Registration(relaunch=True))
    if said:
        with pytest.raises(DistributedServiceFailed, match=said):
            launch_description.describe(there)
        return
    found, _ = launch_description.describe(there)
    assert found.argv[0].endswith("/bin/sh")
    assert (found.argv[1:], found.cwd) == (("-c", "true"), "/srv")
