# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from missiond.client import Client
from standins.agent import StandInAgent, standing_in

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
    """A stand-in for the agent on a bus of its own, where a Client finds it."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", system_bus)
    async with standing_in(system_bus) as running:
        yield running


@pytest.fixture
async def client(agent: StandInAgent) -> AsyncIterator[Client]:
    """A client of the stand-in."""
    async with Client() as connected:
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
    """Run missionctl to its end."""

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
