# SPDX-License-Identifier: Apache-2.0
"""Owners that nobody expects."""

from __future__ import annotations

import logging

import pytest

from standins.clients.agent_client import AgentClient
from standins.worlds.scene import KEEP, OTHERS, Scene


async def test_the_first_process(
    agent: Scene, client: AgentClient, stranger: AgentClient, caplog: pytest.LogCaptureFixture
) -> None:
    """An administrator names pid 1: the task lives, and nothing is done to what it started."""
    agent.polkit.allowed = {KEEP, OTHERS}
    task_id = await stranger.begin("voip", pid=1)
    assert len(agent.locks) == 1
    assert agent.daemon is not None
    await client.call("CancelContinuousTask", task_id)
    await agent.until_locks()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
