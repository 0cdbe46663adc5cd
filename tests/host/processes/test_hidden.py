# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from missiond.host.processes.hidden import HiddenProcesses, hides

ROOT = "99 79 0:40 / / rw,relatime shared:1 - overlay overlay rw,lowerdir=/x"
PROC = "113 99 0:50 / {} rw,nosuid,nodev,noexec,relatime shared:11 - proc proc rw{}"


@pytest.mark.parametrize(
    ("options", "hidden"),
    [
        ("", False),
        (",hidepid=off", False),
        (",hidepid=0", False),
        (",hidepid=noaccess", True),
        (",gid=4,hidepid=invisible", True),
        (",hidepid=ptraceable", True),
        (",hidepid=2", True),
    ],
)
def test_what_hides(options: str, hidden: bool) -> None:
    assert hides(f"{ROOT}\n{PROC.format('/proc', options)}\n{PROC.format('/srv/proc', '')}\n") is hidden


def test_the_last_mount_counts() -> None:
    both = [PROC.format("/proc", options) for options in (",hidepid=invisible", "")]
    assert [hides("\n".join(both)), hides("\n".join(reversed(both)))] == [False, True]
    assert hides(f"{both[0]}\n{PROC.format('/proc/sys', '')}")


async def test_nothing_is_given_away_where_it_can_not_be_told(tmp_path: Path) -> None:
    looked = HiddenProcesses((tmp_path / "none",))
    assert looked.hidden
    looked.close()
    looked.close()


async def test_this_host() -> None:
    looked = HiddenProcesses()
    assert looked.hidden is hides(Path("/proc/1/mountinfo").read_text())
    looked.close()
