# SPDX-License-Identifier: Apache-2.0
"""Each example in Python, of the README, the manual and the docstrings, is run."""

from __future__ import annotations

import ast
import asyncio
import re
import textwrap
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import missiond
from missiond import bus_names, client
from standins.agents.agent import StandInAgent
from standins.agents.peer_unit import ROW

ROOT = Path(__file__).resolve().parents[2]
_ROFF = {r"\-": "-", r"\(aq": "'", r"\(dq": '"', r"\e": "\\"}
_MAIN = "import asyncio, missiond\nasync def main():\n"
_WITH_AGENT = "    async with missiond.connect() as agent:\n"


def of_the_readme() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def of_the_manual() -> list[str]:
    text = (ROOT / "packaging/man/missiond.7").read_text()
    for roff, plain in _ROFF.items():
        text = text.replace(roff, plain)
    return re.findall(r"^\.EX\n(.*?)^\.EE$", text, re.MULTILINE | re.DOTALL)


def of_docstrings() -> list[str]:
    """Blocks that are indented deeper than the docstring."""
    block = re.compile(r"(?:^    .*\n(?:\n(?=    ))?)+", re.MULTILINE)
    return [textwrap.dedent(found) for text in docstrings() for found in block.findall(text)]


def docstrings() -> Iterator[str]:
    directory = Path(str(client.__file__)).parent
    for file in (Path(str(missiond.__file__)), *sorted(directory.glob("*.py"))):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(
                node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            ) and ast.get_docstring(node):
                first, *lines = str(ast.get_docstring(node, clean=False)).splitlines()
                margin = node.body[0].col_offset
                yield "\n".join([first, *(line[margin:] for line in lines), ""])


def program(example: str) -> str:
    """The example with what it needs around it."""
    if "asyncio.run" in example:
        return example
    if "connect()" in example and "async with missiond.connect()" not in example:
        return f"import missiond\n{example}"
    if "connect()" in example:
        return f"{_MAIN}{textwrap.indent(example, '    ')}\nasyncio.run(main())"
    if "agent." in example:
        return f"{_MAIN}{_WITH_AGENT}{textwrap.indent(example, ' ' * 8)}\nasyncio.run(main())"
    return f"import missiond\n{example}"


@pytest.fixture
async def lively(agent: StandInAgent) -> AsyncIterator[StandInAgent]:
    """A host on which something happens: delays expire, tasks end, a mission changes."""
    agent.continuations.own = [ROW]

    async def happen() -> None:
        while True:
            await agent.changed()
            await asyncio.sleep(0.05)
            for kind, number in list(agent.tasks):
                if kind == "transient":
                    emit("SuspendDelayExpiring", number, 6000)
                await asyncio.sleep(0.05)
                agent.end(kind, number, "expired")

    def emit(member: str, *arguments: object) -> None:
        agent.server.emit(bus_names.MANAGER_PATH, bus_names.BACKGROUND_TASK_MANAGER, member, *arguments)

    happening = asyncio.ensure_future(happen())
    yield agent
    happening.cancel()


def test_there_are_some() -> None:
    assert (len(of_the_readme()), len(of_the_manual())) == (3, 8)
    assert len(of_docstrings()) >= 6


@pytest.mark.parametrize("example", [*of_the_readme(), *of_the_manual(), *of_docstrings()])
async def test_an_example(lively: StandInAgent, example: str) -> None:
    names: dict[str, Any] = {}
    exec("def copy():\n    yield from (10, 50, 100)\ndef save(timeout):\n    assert timeout > 0\n", names)
    source = program(example)
    if ".watch()" in example:  # has no end of its own
        source = source.replace("print(", "return print(")
    await asyncio.to_thread(exec, compile(source, "example", "exec"), names)
    assert lively.script.calls
