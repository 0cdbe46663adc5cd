# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import missiond
from missiond.client import _errors
from standins.agents.agent import StandInAgent, standing_in

AGENT = Path(__file__).resolve().parents[2] / "agent"


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


@pytest.fixture
def environment(system_bus: str) -> dict[str, str]:
    """Of a program that talks to the stand-in."""
    return os.environ | {
        "PYTHONPATH": str(AGENT),
        "DBUS_SYSTEM_BUS_ADDRESS": system_bus,
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent",
    }


async def program(environment: dict[str, str], source: str, *words: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        *words,
        "-c",
        source,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env=environment,
    )


@pytest.fixture(autouse=True)
def _nobody_was_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_errors, "_warned", set())
