# SPDX-License-Identifier: Apache-2.0
"""Configuration read again, by call and by signal."""

from __future__ import annotations

import os
import signal

import pytest

from missiond import bus_names
from standins.clients.agent_client import AgentClient
from standins.worlds.scene import Scene


async def test_sighup(agent: Scene, client: AgentClient) -> None:
    agent.configure("[Transient]\nMaxDelay=90s\n")
    os.kill(os.getpid(), signal.SIGHUP)
    await agent.store.until("RELOADING=1")
    await agent.store.until("READY=1", 2)
    assert (await client.request())[1] == 90_000


async def test_a_bad_value_keeps_the_one_in_force(
    agent: Scene, client: AgentClient, caplog: pytest.LogCaptureFixture
) -> None:
    agent.configure("[Transient]\nMaxDelay=90s\n[Continuous]\nVoip=sleep\n")
    await client.call("Reload", interface=bus_names.MANAGER)
    first, delay = await client.request()
    assert delay == 90_000
    agent.configure("[Transient]\nMaxRequests=2\nMaxDelay=for ever\n[Nonsense]\nA=1\n")
    await client.call("Reload", interface=bus_names.MANAGER)
    assert "missiond.conf:3: [Transient] MaxDelay=for ever" in caplog.text
    assert (await client.request())[1] == 90_000
    assert (await client.refused("RequestSuspendDelay", "x", {})).code == 9900002
    # Live tasks keep what they were granted.
    [remaining] = await client.call("GetRemainingDelayTime", first)
    assert remaining > 80_000


async def test_a_file_of_rubbish(agent: Scene, client: AgentClient) -> None:
    (agent.config / "missiond.conf").write_bytes(b"\xff\xfe[[[\0" * 5000)
    await client.call("Reload", interface=bus_names.MANAGER)
    assert (await client.request())[1] == 180_000


@pytest.mark.usefixtures("quick_looks")
async def test_thresholds_at_once(agent: Scene, client: AgentClient) -> None:
    agent.supplies.battery(capacity=50)
    agent.monitor.tell()
    await client.until_property(bus_names.MANAGER_PATH, "BatteryPercent", lambda value: value == 50)
    request_id, _ = await client.request()
    agent.configure("[Battery]\nLowPercent=80\nCriticalPercent=60\n")
    await client.call("Reload", interface=bus_names.MANAGER)
    await client.until("SuspendDelayEnded", request_id, "battery-critical")


@pytest.mark.skipif(os.getuid() != 0, reason="takes two users")
async def test_not_for_everybody(stranger: AgentClient) -> None:
    refused = await stranger.refused("Reload", interface=bus_names.MANAGER)
    assert (refused.name, refused.code) == ("org.missiond.Agent1.Error.PermissionDenied", 201)
