# SPDX-License-Identifier: Apache-2.0
"""An agent with everything around it, and clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from missiond.core.power import believed, level
from missiond.daemon import power_watch
from standins.clients.agent_client import AgentClient, agent_client
from standins.clients.other_user import other_user
from standins.worlds.scene import Scene, scene_on

QUICK = 100
"""Ms."""


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What two looks at the battery decide takes no seconds."""
    monkeypatch.setattr(believed, "CONFIRM", QUICK)
    monkeypatch.setattr(level, "CONFIRM", QUICK)
    monkeypatch.setattr(power_watch, "GAP", QUICK)


@pytest.fixture
async def scene(system_bus: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """All but the agent."""
    async with scene_on(system_bus, tmp_path) as around:
        yield around


@pytest.fixture
async def agent(scene: Scene) -> Scene:
    """With a running agent."""
    await scene.start()
    return scene


@pytest.fixture
async def client(agent: Scene) -> AsyncIterator[AgentClient]:
    """Who may do everything where the tests are run by root; hears all signals."""
    async with agent_client(agent.address, listening=True) as connected:
        yield connected


@pytest.fixture
async def stranger(agent: Scene) -> AsyncIterator[AgentClient]:
    """Another process, never root's, that polkit is asked about."""
    async with other_user(agent.address) as connected:
        yield connected
