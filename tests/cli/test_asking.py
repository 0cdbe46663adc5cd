# SPDX-License-Identifier: Apache-2.0
"""A password is asked for at a terminal where polkit denies, and nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from missiond.errors import PermissionDenied
from standins.agents.agent import StandInAgent
from standins.services.polkit import running_polkit

from .conftest import MISSIONCTL

pytestmark = pytest.mark.slow

DENIAL = PermissionDenied("polkit denies org.missiond.Agent1.manage-others to this caller; see polkit(8)")
AS_A_USER = """
import os, sys
os.geteuid = lambda: 1000
from missiond.cli.main import main
sys.exit(main())
"""
PKTTYAGENT = """#!/bin/sh
echo "$@" >{place}/started
trap 'echo ended >{place}/ended; exit 0' TERM
while [ "$1" != --notify-fd ]; do shift; done
eval "exec $2>&-"
exec 3<>{place}/never
while :; do read -r line <&3; done
"""


@pytest.fixture
def agent_of_passwords(tmp_path: Path) -> Path:
    """Where a pkttyagent is that writes down how it fares."""
    os.mkfifo(tmp_path / "never")
    program = tmp_path / "pkttyagent"
    program.write_text(PKTTYAGENT.format(place=tmp_path))
    program.chmod(0o755)
    return tmp_path


def on_a_terminal(environment: dict[str, str], *arguments: str, stdin: bool = True) -> tuple[int, str]:
    """Run missionctl as a user on a terminal; its exit status and what it shows."""
    main, secondary = os.openpty()
    try:
        command = [*MISSIONCTL[:1], "-c", AS_A_USER, *arguments]
        done = subprocess.Popen(
            command,
            env=environment,
            stdin=secondary if stdin else subprocess.DEVNULL,
            stdout=secondary,
            stderr=secondary,
        )
        os.close(secondary)
        shown = b""
        with contextlib.suppress(OSError):  # EIO once nobody has it open
            while piece := os.read(main, 4096):
                shown += piece
        return done.wait(), shown.decode()
    finally:
        os.close(main)


async def test_where_polkit_denies(
    agent: StandInAgent, environment: dict[str, str], agent_of_passwords: Path
) -> None:
    environment["PATH"] = f"{agent_of_passwords}:{environment['PATH']}"
    environment["XDG_SESSION_ID"] = "1"
    agent.script.denies = DENIAL
    status, shown = await asyncio.to_thread(on_a_terminal, environment, "run", "--", "sh", "-c", "exit 7")
    assert (status, shown) == (7, "")
    started = (agent_of_passwords / "started").read_text().split()
    assert started == ["--process", started[1], "--notify-fd", started[3], "--fallback"]
    assert (agent_of_passwords / "ended").read_text() == "ended\n"


@pytest.mark.parametrize("options", [["--no-ask-password"], ["no terminal"]], ids=str)
async def test_nobody_is_asked(
    agent: StandInAgent, environment: dict[str, str], agent_of_passwords: Path, options: list[str]
) -> None:
    environment["PATH"] = f"{agent_of_passwords}:{environment['PATH']}"
    agent.script.denies = DENIAL
    terminal = options != ["no terminal"]
    words = ["run", *(options if terminal else []), "--require", "--", "true"]
    status, shown = await asyncio.to_thread(on_a_terminal, environment, *words, stdin=terminal)
    assert status == 125
    assert "run it with sudo" in shown
    assert not (agent_of_passwords / "started").exists()


ROW = (7, "tar", "", "tar", 4711, 1001, "running", False, False, 0, 1)


@pytest.mark.parametrize("options", [["--no-ask-password"], ["no terminal"]], ids=str)
@pytest.mark.parametrize("allowed", [True, False])
async def test_where_nobody_is_asked_a_rule_counts(
    agent: StandInAgent,
    environment: dict[str, str],
    agent_of_passwords: Path,
    system_bus: str,
    options: list[str],
    allowed: bool,
) -> None:
    """A list shows what others have running to who may see it without a password, at a terminal or not."""
    environment["PATH"] = f"{agent_of_passwords}:{environment['PATH']}"
    agent.script.of_others = [ROW]
    action = "org.missiond.Agent1.manage-others"
    terminal = options != ["no terminal"]
    words = ["missions", "--all", *(options if terminal else [])]
    async with running_polkit(system_bus) as polkit:
        (polkit.allowed if allowed else polkit.challenged).add(action)
        status, shown = await asyncio.to_thread(on_a_terminal, environment, *words, stdin=terminal)
        assert [(check.action, check.flags) for check in polkit.checks] == [(action, 0)]
    assert (status, "4711" in shown, "No missions." in shown) == (0, allowed, not allowed)
    assert not (agent_of_passwords / "started").exists()


async def test_where_there_is_no_polkit_nothing_of_others_is_listed(
    agent: StandInAgent, environment: dict[str, str]
) -> None:
    agent.script.of_others = [ROW]
    shown = await asyncio.to_thread(on_a_terminal, environment, "missions", "--all", stdin=False)
    assert shown == (0, "No missions.\r\n")


async def test_without_pkttyagent_polkit_may_still_ask(
    agent: StandInAgent, environment: dict[str, str], tmp_path: Path
) -> None:
    """A desktop has a window for it."""
    environment["PATH"] = f"{tmp_path}:/bin" if not Path("/bin/pkttyagent").exists() else str(tmp_path)
    agent.script.denies = DENIAL
    status, _ = await asyncio.to_thread(on_a_terminal, environment, "run", "--require", "--", "/bin/true")
    assert status == 0
