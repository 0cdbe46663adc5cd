# SPDX-License-Identifier: Apache-2.0
"""The completions know the parser."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from missiond.core.tasks.modes import BackgroundMode
from standins.generated import generated

ROOT = Path(__file__).resolve().parents[2]
VERBS = [
    "status",
    "tasks",
    "run",
    "delay",
    "hold",
    "cancel",
    "remaining",
    "missions",
    "snapshot",
    "lock",
    "unlock",
    "terminate",
    "continue",
    "in-flight",
    "reclaim",
    "drop",
    "peers",
    "help",
    "version",
]
MODES = [mode.item for mode in BackgroundMode]

BASH = """
source "$0"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_missionctl
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def with_missionctl(tmp_path: Path) -> dict[str, str]:
    """An environment in which missionctl lists two tasks."""
    program = tmp_path / "missionctl"
    program.write_text("#!/bin/sh\nprintf 'TASK  USER\\ncontinuous/7  a\\ntransient/12  b\\n'\n")
    program.chmod(0o755)
    return {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}


def bash(environment: dict[str, str], *words: str) -> list[str]:
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH, generated() / "completions" / "missionctl.bash", "missionctl", *words],
        env=environment, capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert not done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["st"], ["status"]),
        (["--session", "ca"], ["cancel"]),
        ([""], VERBS),
        (["--ve"], ["--version"]),
        (["tasks", "--a"], ["--all"]),
        (["run", "--mode", ""], MODES),
        (["run", "--mode", "vo"], ["voip"]),
        (["run", "--mode", "voip", "--re"], ["--reason", "--require"]),
        (["run", "--delay", ""], []),
        (["cancel", ""], ["continuous/7", "transient/12"]),
        (["cancel", "continuous/7", "tr"], ["transient/12"]),
        (["remaining", "t"], ["transient/12"]),
        (["run", "missionc"], ["missionctl"]),
        (["run", "--mode", "voip", "--", "missionc"], ["missionctl"]),
        (["terminate", "tr"], ["transient/12"]),
        (["peers", "un"], ["unpair"]),
        (["peers", "pair", "tr"], ["trust", "transient/12"]),
        (["missions", "--on", "co"], ["continuous/7"]),
        (["status", "x"], []),
    ],
    ids=repr,
)
def test_bash(with_missionctl: dict[str, str], words: Sequence[str], expected: list[str]) -> None:
    assert bash(with_missionctl, *words) == expected


def test_bash_completes_processes(with_missionctl: dict[str, str]) -> None:
    if shutil.which("ps") is None:
        pytest.skip("no ps on this host")
    assert str(os.getpid()) in bash(with_missionctl, "delay", "--pid", "")


def test_zsh_can_read_it() -> None:
    if shutil.which("zsh") is None:
        pytest.skip("no zsh on this host")
    subprocess.run(["zsh", "-n", generated() / "completions" / "missionctl.zsh"], check=True)


def test_fish(with_missionctl: dict[str, str]) -> None:
    if shutil.which("fish") is None:
        pytest.skip("no fish on this host")

    def complete(line: str) -> list[str]:
        code = f"source {generated()}/completions/missionctl.fish; complete -C '{line}'"
        done = subprocess.run(
            ["fish", "--no-config", "-c", code],
            env=with_missionctl,
            capture_output=True,
            check=True,
            text=True,
        )
        return [found.split("\t")[0] for found in done.stdout.splitlines()]

    assert complete("missionctl st") == ["status"]
    assert complete("missionctl run --mode ") == sorted(MODES)
    assert complete("missionctl cancel ") == ["continuous/7", "transient/12"]
    assert "--json" in complete("missionctl tasks --")
