# SPDX-License-Identifier: Apache-2.0
"""polkit: denying, hanging, asking, missing, back."""

from __future__ import annotations

import asyncio
import os

import pytest

from missiond import bus_names
from standins.clients.agent_client import AgentClient, agent_client, options
from standins.clients.other_user import other_process, other_user
from standins.worlds.scene import KEEP, Scene


async def test_a_denial(agent: Scene, stranger: AgentClient) -> None:
    agent.polkit.allowed.clear()
    for member, arguments in (
        ("StartBackgroundRunning", (["voip"], {})),
        ("UpdateBackgroundRunning", (["voip"], {})),
        ("GetAllContinuousTasks", (True,)),
    ):
        refused = await stranger.refused(member, *arguments)
        assert (refused.name, refused.code) == ("org.missiond.Agent1.Error.PermissionDenied", 201)
    assert agent.logind.locks == []
    await stranger.request()


async def test_the_subject_is_the_callers_bus_name(agent: Scene, stranger: AgentClient) -> None:
    await stranger.begin("voip")
    [check] = agent.polkit.checks
    assert (check.kind, check.action, check.flags) == ("system-bus-name", KEEP, 0)
    assert check.subject == {"name": stranger.raw.name}


async def test_interaction_only_where_the_caller_agreed(agent: Scene, stranger: AgentClient) -> None:
    agent.polkit.allowed.clear()
    agent.polkit.challenged.add(KEEP)
    assert (await stranger.refused("StartBackgroundRunning", ["voip"], {})).code == 201
    waiting = await stranger.start("StartBackgroundRunning", ["voip"], {}, interactive=True)
    await agent.polkit.until_called("CheckAuthorization", 3)
    while not agent.polkit.asking:
        await asyncio.sleep(0)
    assert agent.polkit.checks[-1].flags == 1
    agent.polkit.decide(allowed=True)
    await stranger.answer(waiting)
    assert len(agent.locks) == 1


async def test_polkit_that_hangs_delays_nobody_else(agent: Scene, stranger: AgentClient) -> None:
    agent.polkit.hanging.add("CheckAuthorization")
    waiting = await stranger.start("StartBackgroundRunning", ["voip"], {})
    await agent.polkit.until_called("CheckAuthorization")
    async with agent_client(agent.address) as other:
        await other.request()
    await stranger.request()
    agent.polkit.answer_held()
    await stranger.answer(waiting)


async def test_a_hundred_starts_at_once_all_get_their_lock(agent: Scene, stranger: AgentClient) -> None:
    agent.polkit.hanging.add("CheckAuthorization")
    waiting = [
        await stranger.start("StartBackgroundRunning", ["voip"], options(context=str(number)))
        for number in range(100)
    ]
    await agent.polkit.until_called("CheckAuthorization", 8)
    agent.polkit.hanging.clear()
    agent.polkit.answer_held()
    for serial in waiting:
        await stranger.answer(serial)
    assert len(agent.locks) == 100


async def test_a_client_that_leaves_before_polkit_decides(agent: Scene) -> None:
    agent.polkit.challenged.add(KEEP)
    agent.polkit.allowed.clear()
    async with other_user(agent.address) as leaving:
        await leaving.start("StartBackgroundRunning", ["voip"], {}, interactive=True)
        await agent.polkit.until_called("CheckAuthorization", 2)
    await agent.polkit.until_called("CancelCheckAuthorization")
    async with agent_client(agent.address) as other:
        assert (await other.manager())["ContinuousTasks"] == 0
    assert agent.logind.locks == []
    assert agent.files("continuous") == []


async def test_an_owner_that_dies_before_polkit_decides(agent: Scene, stranger: AgentClient) -> None:
    agent.polkit.hanging.add("CheckAuthorization")
    async with other_process(agent.address) as (_, child):
        waiting = await stranger.start("StartBackgroundRunning", ["voip"], options(pid=child.pid))
        await agent.polkit.until_called("CheckAuthorization")
    agent.polkit.answer_held()
    assert (await _refusal(stranger, waiting)) == 9900001
    assert agent.logind.locks == []


async def _refusal(client: AgentClient, serial: int) -> int:
    from standins.clients.agent_client import Refused

    with pytest.raises(Refused) as refused:
        await client.answer(serial)
    return refused.value.code


async def test_without_polkit_root_alone_and_back_without_a_restart(
    agent: Scene, client: AgentClient, stranger: AgentClient
) -> None:
    await agent.polkit.vanish()
    await client.until_property(
        bus_names.MANAGER_PATH, "Degraded", lambda said: any("no polkit" in sentence for sentence in said)
    )
    refused = await stranger.refused("StartBackgroundRunning", ["voip"], {})
    assert refused.code == 201
    assert "no polkit" in refused.text
    if os.getuid() == 0:
        await client.begin("voip", keep_alive="none")
    await agent.polkit.appear()
    await client.until_property(bus_names.MANAGER_PATH, "Degraded", lambda said: said == [])
    await stranger.begin("voip", context="after")


async def test_locks_that_polkit_kept_from_us_are_taken_once_it_is_back(
    agent: Scene, client: AgentClient
) -> None:
    agent.logind.failures["Inhibit"] = ("org.freedesktop.DBus.Error.AccessDenied", "Permission denied")
    request_id, _ = await client.request()
    path = f"{bus_names.MANAGER_PATH}/transient/{request_id}"
    assert (await client.properties(path, bus_names.TRANSIENT_TASK))["Locked"] is False
    assert any("refused" in sentence for sentence in (await client.manager())["Degraded"])
    agent.logind.failures.clear()
    await agent.polkit.vanish()
    await agent.polkit.appear()
    await client.until_property(path, "Locked", lambda locked: locked is True)
    assert len(agent.locks) == 1
    assert (await client.manager())["Degraded"] == []
