# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import pwd
from dataclasses import replace

import pytest

from missiond.agent import launch_source
from missiond.core.missions import Leader, Mission, Registration, Sighting
from missiond.errors import DistributedServiceFailed
from missiond.host import desktop_entries
from missiond.host.desktop_entries import DesktopEntry

SEEN = Sighting("unit/1", Leader(5, 6), os.getuid(), "org.example.X", "X", "icon", 7)
ALLOWED = Registration(
    argv=("/bin/x", "y"), cwd="/srv", environment=("A=b",), relaunch=True, tag=3, dropped=("LD_PRELOAD",)
)


def mission(registration: Registration | None) -> Mission:
    return Mission(1, SEEN, registration=registration)


def test_as_registered() -> None:
    found, dropped = launch_source.describe(mission(replace(ALLOWED, properties=("Nice=1",), label="L")))
    assert found.argv == ("/bin/x", "y")
    assert (found.cwd, found.environment, found.properties) == ("/srv", ("A=b",), ("Nice=1",))
    assert (found.label, found.icon, found.tag, found.app_id) == ("L", "icon", 3, "org.example.X")
    assert found.user == pwd.getpwuid(os.getuid()).pw_name
    assert dropped == ("LD_PRELOAD",)


@pytest.mark.parametrize("registration", [None, Registration(argv=("/bin/x",))])
def test_what_nobody_allowed(registration: Registration | None) -> None:
    with pytest.raises(DistributedServiceFailed, match="can't go on elsewhere"):
        launch_source.describe(mission(registration))
    assert not launch_source.may_relaunch(mission(registration))


def test_consent_to_a_start_without_state() -> None:
    assert launch_source.may_relaunch(mission(ALLOWED))
    asked = mission(Registration(continuable=True))
    assert asked.continuable
    assert not launch_source.may_relaunch(asked)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (None, "no desktop entry"),
        (DesktopEntry("X", "", False), "no desktop entry"),
        (DesktopEntry("X", "", False, "no-such-program %u"), "is not there"),
        (DesktopEntry("X", "", False, "x 'y'"), "double quotes"),
        (DesktopEntry("X", "", False, "sh -c true %U", "/srv"), ""),
    ],
)
def test_of_a_desktop_entry(monkeypatch: pytest.MonkeyPatch, entry: DesktopEntry | None, said: str) -> None:
    monkeypatch.setattr(desktop_entries, "find", lambda _: entry)
    there = mission(Registration(relaunch=True))
    if said:
        with pytest.raises(DistributedServiceFailed, match=said):
            launch_source.describe(there)
        return
    found, _ = launch_source.describe(there)
    assert found.argv[0].endswith("/bin/sh")
    assert (found.argv[1:], found.cwd) == (("-c", "true"), "/srv")
