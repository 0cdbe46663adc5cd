# SPDX-License-Identifier: Apache-2.0
"""What missionctl imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from missiond import cli

LEAVES = {
    "missiond.config.units",
    "missiond.core.missions.printable",
    "missiond.core.near_names",
    "missiond.host.processes.stat",
}
"""Modules of the package that know nothing of the agent: spans of time, text for terminals, /proc."""


def test_missionctl_starts_without_what_it_does_not_need(environment: dict[str, str]) -> None:
    code = (
        "import sys; from missiond.cli.parser.parser import parse; parse(['run', 'x'])\n"
        "print(sorted({'asyncio', 'dbus_next', 'psutil', 'pyudev'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment)
    assert done.stdout == b"[]\n"


def test_missionctl_talks_to_the_agent_as_every_program_does() -> None:
    """By names of `missiond`, not by what is below."""
    imported = set()
    for file in Path(str(cli.__file__)).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                imported.add(node.module or "")
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
    ours = {name for name in imported if name.split(".")[0] == "missiond"}
    assert {name for name in ours if not name.startswith("missiond.cli")} == {"missiond", *LEAVES}
