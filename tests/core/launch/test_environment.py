# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from missiond.core.launch.environment import captured, goes_along, sift

UNSAFE = Path(__file__).with_name("unsafe_variables.txt").read_text().split()
"""unsecvars.h of glibc 2.36 to 2.41, and the like of shells, interpreters and toolkits."""
OF_THE_HOST = [
    "HOME", "USER", "LOGNAME", "SHELL", "DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS",
    "XDG_RUNTIME_DIR", "XDG_SESSION_ID", "SSH_AUTH_SOCK", "NOTIFY_SOCKET", "LISTEN_FDS",
    "MISSIOND_STATE_FILE", "INVOCATION_ID", "TERM",
]  # fmt: skip


@pytest.mark.parametrize("name", [*UNSAFE, *OF_THE_HOST, "a-b", "1A", "", "A B", "BASH_FUNC_x%%", "Ä"])
def test_these_stay_behind(name: str) -> None:
    assert not goes_along(name)


@pytest.mark.parametrize(
    "name", ["LANG", "LC_ALL", "TZ", "PATH", "EDITOR", "MY_LD_PRELOAD", "LDX", "_x", "HTTP_PROXY"]
)
def test_these_go_along(name: str) -> None:
    assert goes_along(name)


def test_what_stays_behind_is_told_and_the_last_one_counts() -> None:
    kept, dropped = sift(
        ["A=1", "LD_PRELOAD=/x", "B=", "A=2", "LD_PRELOAD=/y", "x\x1b=1", "nothing", "x" * 99 + "-=1"]
    )
    assert kept == ("A=2", "B=")
    assert dropped == ("LD_PRELOAD", "nothing", "x?", "x" * 64)


def test_what_a_command_takes_along_by_itself() -> None:
    environment = {"PATH": "/bin", "LANG": "C", "LC_TIME": "de", "SECRET": "x", "TERM": "x", "TZ": "\udcff"}
    assert captured(environment) == ["LANG=C", "LC_TIME=de", "PATH=/bin"]
