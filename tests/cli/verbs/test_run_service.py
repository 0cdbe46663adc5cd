# SPDX-License-Identifier: Apache-2.0
"""missionctl run --keep-alive=restart, with a stand-in agent and shell scripts for systemd's tools."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.conftest import AGENT, Missionctl
from missiond.cli.url_quote import quote
from missiond.errors import InvalidParameter, PermissionDenied
from standins.agents.agent import StandInAgent

pytestmark = pytest.mark.slow


@pytest.fixture
def missionctl(missionctl_program: Missionctl) -> Missionctl:
    """Run missionctl as a process of its own, since it becomes another or has a caller."""
    return missionctl_program


UNIT = "missiond-run-backup.service"
SYSTEMCTL = """#!/bin/sh
cd "$PLACE" || exit 1
echo "systemctl $*" >>calls
case $* in
*--version) echo "systemd $(cat version) (stand-in)" ;;
*show*) [ ! -e unreachable ] || { echo "Failed to connect to bus: No medium found" >&2; exit 1; }
    cat state; echo "MainPID=$(cat pid 2>/dev/null || echo 0)" ;;
*reset-failed*) printf 'LoadState=not-found\\nActiveState=inactive\\n' >state ;;
*stop*) sed -i s/activating/failed/ state; kill "$(cat pid)" 2>/dev/null; rm -f pid ;;
esac
"""
SYSTEMD_RUN = """#!/bin/sh
for word; do printf '%s\\n' "$word" >>"$PLACE/arguments"; done
[ ! -e "$PLACE/refuses" ] || { echo "Failed to start transient service unit: no" >&2; exit 1; }
if [ -e "$PLACE/broken" ]; then
    cat "$PLACE/broken" >"$PLACE/state"; echo "Job for a.service failed" >&2; exit 1
fi
while [ "$1" != -- ]; do shift; done
shift
[ -e "$PLACE/dies" ] && exit
"$@" >"$PLACE/said" 2>&1 </dev/null &
echo $! >"$PLACE/pid"
"""
FREE = "LoadState=not-found\nActiveState=inactive\n"


class Tools:
    """Where they are, what they were called with, and what they do."""

    def __init__(self, place: Path) -> None:
        self.place = place
        for name, text in (("systemctl", SYSTEMCTL), ("systemd-run", SYSTEMD_RUN)):
            (place / name).write_text(text)
            (place / name).chmod(0o755)
        self.write("state", FREE)
        self.write("version", "257")
        self.environment = {"PLACE": str(place), "PATH": f"{place}:{os.environ['PATH']}"}

    def write(self, name: str, text: str = "") -> None:
        (self.place / name).write_text(text)

    def read(self, name: str) -> str:
        file = self.place / name
        return file.read_text() if file.exists() else ""

    @property
    def arguments(self) -> list[str]:
        return self.read("arguments").split("\n")[:-1]


def umask() -> int:
    """As this process has it, and what it starts."""
    now = os.umask(0o022)
    os.umask(now)
    return now


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    made = Tools(tmp_path)
    yield made
    if pid := made.read("pid"):
        subprocess.run(["kill", pid.strip()], check=False)


RUN = ("run", "--keep-alive=restart", "--name", "backup")


async def test_a_service_and_its_task(agent: StandInAgent, missionctl: Missionctl, tools: Tools) -> None:
    result = await missionctl(*RUN, "--mode", "voip", "--", "sleep", "60", **tools.environment)
    manager = [] if os.geteuid() == 0 else ["--user"]
    words = " ".join(["systemctl", *manager, "stop", UNIT])
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines()[0] == UNIT
    assert result.out.splitlines()[2] == f"to end it:  {words}"
    options = {
        "pid": int(tools.read("pid")),
        "title": "sleep",
        "context": "run-backup",
        "keep-alive": "restart",
    }
    assert agent.script.calls == [("StartBackgroundRunning", ["voip"], options)]
    wanted = [
        *manager,
        f"--unit={UNIT}",
        "--service-type=exec",
        "--same-dir",
        "--property=Restart=always",
        f"--property=UMask={umask():04o}",
        "--expand-environment=no",
    ]
    assert set(wanted) <= set(tools.arguments)
    assert tools.arguments[-3] == "--"
    assert Path(tools.arguments[-2]).is_absolute()


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ("LoadState=loaded\nActiveState=active\n", "in use already"),
        ("LoadState=loaded\nActiveState=activating\n", "in use already"),
        ("LoadState=loaded\nActiveState=inactive\n", "in use already"),
    ],
)
async def test_a_name_in_use(
    agent: StandInAgent, missionctl: Missionctl, tools: Tools, state: str, text: str
) -> None:
    tools.write("state", state)
    result = await missionctl(*RUN, "--", "sleep", "60", **tools.environment)
    assert (result.status, result.out) == (125, "")
    assert f"{UNIT} is {text}" in result.err
    assert tools.arguments == []
    assert agent.script.calls == []


async def test_one_that_failed_is_forgotten(
    agent: StandInAgent, missionctl: Missionctl, tools: Tools
) -> None:
    tools.write("state", "LoadState=loaded\nActiveState=failed\n")
    assert (await missionctl(*RUN, "--", "sleep", "60", **tools.environment)).status == 0
    assert f"reset-failed -- {UNIT}" in tools.read("calls")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("unreachable", "Failed to connect to bus: No medium found"),
        ("refuses", "Failed to start transient service unit: no"),
        ("dies", "ended at once; see `journalctl"),
    ],
)
async def test_what_keeps_it_from_starting(
    agent: StandInAgent, missionctl: Missionctl, tools: Tools, name: str, text: str
) -> None:
    tools.write(name)
    result = await missionctl(*RUN, "--", "sleep", "60", **tools.environment)
    assert (result.status, result.out) == (125, "")
    assert text in result.err
    assert agent.script.calls == []


@pytest.mark.parametrize(
    ("exit_status", "status", "text"),
    [
        ("200", 125, f"the service manager can't enter {Path.cwd()}; change to another directory"),
        ("203", 126, "/sleep; is it a program that it can read?"),
        ("217", 125, f"{UNIT} can't be started (status 217); see `journalctl"),
    ],
)
async def test_what_systemd_can_not_start_is_told_and_taken_away(
    agent: StandInAgent, missionctl: Missionctl, tools: Tools, exit_status: str, status: int, text: str
) -> None:
    tools.write("broken", f"LoadState=loaded\nActiveState=activating\nExecMainStatus={exit_status}\n")
    result = await missionctl(*RUN, "--", "sleep", "60", **tools.environment)
    assert (result.status, result.out) == (status, "")
    assert text in result.err
    assert tools.read("state") == FREE
    assert agent.script.calls == []


async def test_a_service_that_another_one_made_meanwhile_is_left_alone(
    agent: StandInAgent, missionctl: Missionctl, tools: Tools
) -> None:
    tools.write("broken", "LoadState=loaded\nActiveState=active\nExecMainStatus=0\n")
    result = await missionctl(*RUN, "--", "sleep", "60", **tools.environment)
    assert (result.status, "Job for a.service failed" in result.err) == (125, True)
    assert "stop" not in tools.read("calls")


async def test_without_a_lock_it_runs_all_the_same(
    agent: StandInAgent, missionctl: Missionctl, tools: Tools
) -> None:
    agent.script.failures["StartBackgroundRunning"] = PermissionDenied("polkit denies it")
    result = await missionctl(*RUN, "--", "sleep", "60", **tools.environment)
    assert (result.status, result.out.splitlines()[0]) == (0, UNIT)
    assert result.err.startswith(f"missionctl: warning: nothing keeps this host awake for {UNIT}: polkit")
    assert tools.read("pid")


@pytest.mark.parametrize(
    ("error", "options"), [(InvalidParameter("no"), ()), (PermissionDenied("no"), ("--require",))]
)
async def test_where_it_is_not_to_run_it_is_stopped(
    agent: StandInAgent, missionctl: Missionctl, tools: Tools, error: Exception, options: tuple[str, ...]
) -> None:
    agent.script.failures["StartBackgroundRunning"] = error
    result = await missionctl(*RUN, *options, "--", "sleep", "60", **tools.environment)
    assert (result.status, result.out) == (125, "")
    assert "sleep was not started: no" in result.err
    assert f"stop -- {UNIT}" in tools.read("calls")
    assert not tools.read("pid")


@pytest.mark.parametrize(("version", "quoted"), [("252", True), ("254", False)])
async def test_the_command_arrives_as_it_is(
    agent: StandInAgent, missionctl: Missionctl, tools: Tools, version: str, quoted: bool
) -> None:
    """Also where systemd would make something else of some characters."""
    tools.write("version", version)
    odd = ["a;b", "$HOME", "%n %%", "é 'x' \"y\"", "\\;"]
    script = 'for word; do printf "%s\\n" "$word"; done; exec sleep 60'
    result = await missionctl(*RUN, "--", "sh", "-c", script, "sh", *odd, **tools.environment)
    assert result.status == 0
    passed = tools.arguments[tools.arguments.index("--") :]
    assert any(char in word for word in passed for char in ";$") is not quoted
    if not quoted:
        while len(tools.read("said").splitlines()) < len(odd):
            await asyncio.sleep(0.01)
        assert tools.read("said").splitlines() == odd


async def test_bytes_that_are_no_text_are_quoted(
    agent: StandInAgent, missionctl: Missionctl, tools: Tools
) -> None:
    result = await missionctl(*RUN, "--", "sleep", "60", "\udcff", **tools.environment)
    assert (result.status, tools.arguments[-1]) == (0, "%FF")


async def test_a_directory_that_systemd_does_not_take(
    agent: StandInAgent, missionctl: Missionctl, tools: Tools, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = tmp_path / "caf\udce9"
    await asyncio.to_thread(place.mkdir)
    monkeypatch.chdir(place)
    result = await missionctl(*RUN, "--", "sleep", "60", **tools.environment)
    assert result.status == 125
    assert "the name of the directory is no Unicode text, which systemd does not take" in result.err
    await asyncio.to_thread(place.rmdir)
    result = await missionctl(*RUN, "--", "sleep", "60", **tools.environment)
    assert result.status == 125
    assert "the directory can't be used" in result.err
    assert tools.arguments == []


def test_a_quoted_command_is_what_it_was() -> None:
    command = ["/bin/sh", "-c", 'printf "%s|" "$@"', "sh", "a;b", "$HOME", "%41", "é ", ""]
    program = [sys.executable, "-m", "missiond.cli.url_quote", *map(quote, command)]
    done = subprocess.run(
        program, check=True, capture_output=True, env=os.environ | {"PYTHONPATH": str(AGENT)}
    )
    assert done.stdout.decode() == "a;b|$HOME|%41|é ||"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--keep-alive=restart",),
        ("--name", "x"),
        ("--keep-alive=protect", "--name", "x"),
        ("--keep-alive=restart", "--name", ""),
        ("--keep-alive=restart", "--name", "a b"),
        ("--keep-alive=restart", "--name", "../x"),
        ("--keep-alive=restart", "--name", "x" * 65),
        ("--keep-alive=restart", "--name", "-x"),
        ("--keep-alive=other",),
        ("--keep-alive=none", "--delay", "1min"),
    ],
)
async def test_wrong_usage(
    agent: StandInAgent, missionctl: Missionctl, tools: Tools, arguments: tuple[str, ...]
) -> None:
    result = await missionctl("run", *arguments, "--", "sleep", "60", **tools.environment)
    assert (result.status, result.out) == (125, "")
    assert "missionctl run: " in result.err
    assert tools.arguments == []


@pytest.mark.parametrize("how", ["protect", "none"])
async def test_other_ways_to_keep_it_alive(agent: StandInAgent, missionctl: Missionctl, how: str) -> None:
    assert (await missionctl("run", "--keep-alive", how, "--", "true")).status == 0
    [(_, _, options)] = agent.script.calls
    assert options["keep-alive"] == how
