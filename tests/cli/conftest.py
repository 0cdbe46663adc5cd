# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import io
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import missiond
from missiond.cli.main import main
from standins.agents.agent import StandInAgent, standing_in

from .manual import check_json

AGENT = Path(__file__).resolve().parents[2] / "agent"
MISSIONCTL = [sys.executable, "-m", "missiond.cli.main"]


@dataclass
class Result:
    """How a missionctl ended."""

    status: int
    out: str
    err: str


Missionctl = Callable[..., Awaitable[Result]]


@pytest.fixture
async def agent(system_bus: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StandInAgent]:
    """A stand-in for the agent on a bus of its own, where a client finds it."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", system_bus)
    async with standing_in(system_bus) as running:
        yield running


@pytest.fixture
async def client(agent: StandInAgent) -> AsyncIterator[missiond.Agent]:
    """A client of the stand-in."""
    async with missiond.connect() as connected:
        yield connected


def environment_for(bus: str) -> dict[str, str]:
    """Of a missionctl that talks to this bus."""
    return os.environ | {
        "PYTHONPATH": str(AGENT),
        "DBUS_SYSTEM_BUS_ADDRESS": bus,
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent",
    }


@pytest.fixture
def environment(system_bus: str) -> dict[str, str]:
    """Of a missionctl that talks to the stand-in."""
    return environment_for(system_bus)


@pytest.fixture
def missionctl(environment: dict[str, str]) -> Missionctl:
    """Run missionctl to its end, in a thread of this process: for what becomes no other program.

    Every key of JSON that it prints has to be in the manual.
    """

    async def run(*arguments: str, stdin: bytes = b"", **changes: str) -> Result:
        result = await asyncio.to_thread(_run_here, arguments, stdin, environment | changes)
        if "--json" in arguments and result.status == 0:
            check_json(arguments, result.out)
        return result

    return run


def _run_here(arguments: tuple[str, ...], stdin: bytes, environment: dict[str, str]) -> Result:
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        for name in os.environ.keys() - environment.keys():
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        time.tzset()
        status = main(arguments)
        said = [each.buffer.getvalue().decode() for each in (out, err)]
    time.tzset()
    return Result(status, *said)


@pytest.fixture
def missionctl_program(environment: dict[str, str]) -> Missionctl:
    """Run missionctl to its end, as a process of its own."""

    async def run(*arguments: str, stdin: bytes = b"", **changes: str) -> Result:
        process = await asyncio.create_subprocess_exec(
            *MISSIONCTL,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment | changes,
        )
        out, err = await process.communicate(stdin)
        assert process.returncode is not None
        return Result(process.returncode, out.decode(), err.decode())

    return run
