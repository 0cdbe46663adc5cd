# SPDX-License-Identifier: Apache-2.0
"""A delay without --pid is the task of the shell in which the line stands."""

from __future__ import annotations

import asyncio
import os
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from missiond.cli.caller import CallingShell, caller
from missiond.host.processes.stat import Stat
from standins.agents.agent import StandInAgent

from .conftest import MISSIONCTL, Missionctl

pytestmark = pytest.mark.slow


@pytest.fixture
def missionctl(missionctl_program: Missionctl) -> Missionctl:
    """Run missionctl as a process of its own, since it becomes another or has a caller."""
    return missionctl_program


def process(pid: int, name: str, parent: int, arguments_at: int) -> Stat:
    return Stat(pid, name.encode(), "S", parent, pid, pid, 0, 0, 1, 100, arguments_at)


WORLD = {
    stat.pid: stat
    for stat in (
        process(10, "gnome-terminal-", 1, 1),
        process(20, "bash", 10, 2),  # typed at
        process(30, "bash", 20, 3),  # a script
        process(31, "bash", 30, 3),  # its $( ... )
        process(32, "xargs", 31, 4),
        process(40, "sudo", 20, 5),
        process(41, "sudo", 40, 5),
        process(50, "make", 20, 6),
        process(60, "bash", 20, 2),  # ( ... )
        process(70, "cron", 1, 0),
        process(71, "sh", 70, 0),
    )
}


@pytest.mark.parametrize(
    ("parent", "owner"),
    [
        (20, CallingShell(20, "bash", is_shell=True)),
        (30, CallingShell(30, "bash", is_shell=True)),
        (31, CallingShell(30, "bash", is_shell=True)),
        (32, CallingShell(30, "bash", is_shell=True)),
        (41, CallingShell(20, "bash", is_shell=True)),
        (50, CallingShell(50, "make", is_shell=False)),
        (60, CallingShell(20, "bash", is_shell=True)),
        (71, CallingShell(71, "sh", is_shell=True)),
        (99, CallingShell(99, "process", is_shell=False)),
        (1, CallingShell(1, "process", is_shell=False)),
    ],
)
def test_up_to_the_shell(parent: int, owner: CallingShell) -> None:
    def look(pid: int) -> Stat:
        if pid not in WORLD:
            raise ProcessLookupError
        return WORLD[pid]

    assert caller(parent, look) == owner


MISSIONCTL_DELAY = " ".join([*MISSIONCTL, "delay", "--for", "20s"])
LINES = [
    f"t=$({MISSIONCTL_DELAY} | cut -d ' ' -f 1)",
    f"t=$({MISSIONCTL_DELAY}); t=${{t%% *}}",
    f"t=$(timeout 20 {MISSIONCTL_DELAY} | cut -d ' ' -f 1)",
    f"t=$(echo 20s | xargs {' '.join(MISSIONCTL)} delay --for | cut -d ' ' -f 1)",
    f"t=$( ( {MISSIONCTL_DELAY} ) | cut -d ' ' -f 1)",
    f"t=$(nice {MISSIONCTL_DELAY} | {{ read t rest; echo $t; }})",
    f"{MISSIONCTL_DELAY} | {{ read t rest; echo $t >there; }}; read t <there",
]


@pytest.mark.parametrize("shell", ["bash", "dash"])
@pytest.mark.parametrize("line", LINES)
async def test_in_a_script(
    agent: StandInAgent, environment: dict[str, str], tmp_path: Path, shell: str, line: str
) -> None:
    """It is there until it is cancelled, and its owner is the script."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    script = tmp_path / "script"
    tell = f"{' '.join(MISSIONCTL)} tasks --all; {' '.join(MISSIONCTL)} cancel $t && echo cancelled $$"
    script.write_text(f"{line}\n{tell}\n")
    process = await asyncio.create_subprocess_exec(
        shell, str(script), env=environment, cwd=tmp_path, stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    assert err == b""
    table = out.decode().split()
    assert table[-2:] == ["cancelled", str(process.pid)]
    assert "transient/1" in table
    assert [call[2]["pid"] for call in agent.script.calls if call[0] == "RequestSuspendDelay"] == [
        process.pid
    ]


async def test_where_it_is_no_shell_that_is_said(agent: StandInAgent, missionctl: Missionctl) -> None:
    result = await missionctl("delay")
    assert result.err.startswith(f"missionctl: warning: it ends with process {os.getpid()} (")
    assert result.err.count("\n") == 1
    result = await missionctl("delay", "--pid", str(os.getpid()))
    assert result.err == ""


async def test_less_than_was_asked_for(agent: StandInAgent, missionctl: Missionctl) -> None:
    result = await missionctl("delay", "--pid", str(os.getpid()), "--for", "9h")
    assert result.out == "transient/1 3min\n"
    assert result.err.startswith("missionctl: warning: 3min of 9h is all there is; ")
    result = await missionctl("run", "--delay", "9h", "--", "sh", "-c", "exit 3")
    assert result.status == 3
    assert result.err.startswith("missionctl: warning: 3min of 9h is all there is; without --delay ")
