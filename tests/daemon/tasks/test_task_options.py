# SPDX-License-Identifier: Apache-2.0
"""Options of continuous tasks: an end of their own, more locks, what a click does; and who is told what."""

from __future__ import annotations

import os
import time
from functools import partial
from operator import eq
from typing import Any

import pytest

from missiond import bus_names
from missiond.bus.variants import unwrap, variant
from standins.clients.agent_client import AgentClient, options
from standins.programs.running import running
from standins.worlds.scene import Scene

ROOT_RUNS = os.getuid() == 0
LOGIND = "org.freedesktop.login1."
LOCK_ALL = {
    f"{LOGIND}{name}"
    for name in ("inhibit-block-idle", "inhibit-block-shutdown", "inhibit-handle-lid-switch")
}
LID = "org.missiond.Agent1.inhibit-handle-lid-switch"
WANT = {"uri": variant("s", "https://example.org/")}


def path_of(task_id: int) -> str:
    return f"{bus_names.MANAGER_PATH}/continuous/{task_id}"


async def shown(client: AgentClient, task_id: int) -> dict[str, Any]:
    return await client.properties(path_of(task_id), bus_names.CONTINUOUS_TASK)


def chosen(**more: tuple[str, Any]) -> dict[str, Any]:
    return {key.replace("_", "-"): variant(*value) for key, value in more.items()}


async def begin(client: AgentClient, given: dict[str, Any], mode: str = "dataTransfer") -> int:
    return int((await client.call("StartBackgroundRunning", [mode], given))[3])


async def test_it_ends_by_itself(agent: Scene, client: AgentClient) -> None:
    begun = time.monotonic()
    task_id = await begin(client, chosen(time_out=("u", 1_000)))
    found = await shown(client, task_id)
    assert found["Deadline"] - found["Started"] == 1_000_000
    await client.until("ContinuousTaskCancel", task_id, 2)
    assert time.monotonic() - begun >= 0.9
    await client.until("InterfacesRemoved", path_of(task_id))
    assert (agent.locks, agent.files("continuous"), agent.store.names) == ([], [], [])
    assert (await client.refused("CancelContinuousTask", task_id)).code == 9800005


async def test_its_end_outlives_the_agent(agent: Scene, client: AgentClient) -> None:
    with running() as pid:
        task_id = await begin(client, chosen(time_out=("u", 1_500), pid=("u", pid)))
        later = await begin(client, chosen(time_out=("u", 604_800_000), pid=("u", pid), context=("s", "b")))
        before = await shown(client, task_id)
        await agent.stop()
        await agent.start()
        assert await shown(client, task_id) == before
        await client.until("ContinuousTaskCancel", task_id, 2)
        assert (await shown(client, later))["Locked"] is True


@pytest.mark.parametrize("wrong", [0, 1, 999, 604_800_001, 2**32 - 1])
async def test_a_time_out_out_of_range(client: AgentClient, wrong: int) -> None:
    refused = await client.refused("StartBackgroundRunning", ["voip"], chosen(time_out=("u", wrong)))
    assert refused.text == "401: time-out is from 1000 to 604800000 ms (a second to a week)"


async def test_more_is_locked(agent: Scene, client: AgentClient) -> None:
    agent.polkit.allowed |= LOCK_ALL | {LID}
    given = chosen(inhibit=("as", ["shutdown", "idle", "handle-lid-switch", "idle"]), context=("s", "c"))
    task_id = await begin(client, given)
    assert [what for what, _ in agent.locks] == ["sleep:idle:handle-lid-switch:shutdown"]
    assert (await shown(client, task_id))["Inhibit"] == ["idle", "handle-lid-switch", "shutdown"]
    await client.call("UpdateBackgroundRunning", ["voip"], options(context="c"))
    assert [what for what, _ in agent.locks] == ["sleep:idle:handle-lid-switch:shutdown"]
    await begin(client, chosen(inhibit=("as", ["idle"])))
    assert sorted(what for what, _ in agent.locks) == ["sleep:idle", "sleep:idle:handle-lid-switch:shutdown"]
    await client.call("UpdateBackgroundRunning", ["location"], {})
    assert "sleep:idle" in [what for what, _ in agent.locks]


async def test_more_locks_outlive_the_agent(agent: Scene, client: AgentClient) -> None:
    agent.polkit.allowed |= LOCK_ALL | {LID}
    with running() as pid:
        given = chosen(inhibit=("as", ["idle"]), pid=("u", pid), want_agent=("a{sv}", WANT))
        task_id = await begin(client, given)
        await agent.stop()
        await agent.start()
        assert [what for what, _ in agent.locks][-1] == "sleep:idle"
        await client.call("UpdateBackgroundRunning", ["location"], options(pid=pid))
        assert (await shown(client, task_id))["What"] == "sleep:idle"
        assert agent.app is not None
        task = agent.app.leases.continuous.get(task_id)
        assert task is not None
        assert task.want is not None
        assert task.want.uri == "https://example.org/"


@pytest.mark.parametrize(
    "wrong", [("as", ["sleep"]), ("as", ["idle", ""]), ("as", ["Idle"]), ("s", "idle"), ("av", [])]
)
async def test_what_can_not_be_locked(agent: Scene, client: AgentClient, wrong: tuple[str, Any]) -> None:
    refused = await client.refused("StartBackgroundRunning", ["voip"], chosen(inhibit=wrong))
    assert refused.code == 401
    assert agent.logind.locks == []


async def test_what_the_agent_may_not_lock(agent: Scene, client: AgentClient, stranger: AgentClient) -> None:
    agent.polkit.allowed |= LOCK_ALL - {f"{LOGIND}inhibit-block-shutdown"}
    for each in (client, stranger):
        refused = await each.refused(
            "StartBackgroundRunning", ["voip"], chosen(inhibit=("as", ["idle", "shutdown"]))
        )
        assert refused.code == 201
        assert "does not let the agent lock shutdown on this host; leave it out" in refused.text
    assert agent.logind.locks == []
    await begin(stranger, chosen(inhibit=("as", ["idle"])))


async def test_polkit_is_asked_about_each_lock(agent: Scene, stranger: AgentClient) -> None:
    agent.polkit.allowed |= LOCK_ALL | {LID}
    await begin(stranger, chosen(inhibit=("as", ["idle", "handle-lid-switch"])))
    asked = [(check.action.rpartition(".")[2], check.details) for check in agent.polkit.checks]
    assert asked == [
        ("keep-background-running", {}),
        ("keep-background-running", {"inhibit": "idle"}),
        ("inhibit-block-idle", {}),
        ("keep-background-running", {"inhibit": "handle-lid-switch"}),
        ("inhibit-handle-lid-switch", {}),
        ("inhibit-handle-lid-switch", {}),
    ]
    assert [check.action for check in agent.polkit.checks[-2:]] == [f"{LOGIND}inhibit-handle-lid-switch", LID]


async def test_the_lid_is_for_whom_polkit_lets(
    agent: Scene, client: AgentClient, stranger: AgentClient
) -> None:
    agent.polkit.allowed |= LOCK_ALL
    refused = await stranger.refused(
        "StartBackgroundRunning", ["voip"], chosen(inhibit=("as", ["idle", "handle-lid-switch"]))
    )
    assert refused.text == f"201: polkit denies {LID} to this caller; see polkit(8)"
    assert agent.logind.locks == []
    await begin(stranger, chosen(inhibit=("as", ["idle"])))
    if ROOT_RUNS:
        await begin(client, chosen(inhibit=("as", ["handle-lid-switch"])))
        assert [what for what, _ in agent.locks] == ["sleep:handle-lid-switch", "sleep:idle"]


async def test_what_a_click_does_is_checked(agent: Scene, client: AgentClient) -> None:
    for number, want in enumerate(
        (
            {"desktop-id": variant("s", "org.example.App"), "uris": variant("as", [])},
            {"uri": variant("s", "mailto:a@example.org")},
            {
                "bus-name": variant("s", "org.example.App"),
                "object-path": variant("o", "/a"),
                "action": variant("s", "show"),
                "parameter": variant("v", variant("a{sv}", {"x": variant("u", 7)})),
            },
            {"bus-name": variant("s", "a.b"), "action": variant("s", "x"), "parameter": variant("s", "y")},
        )
    ):
        await begin(client, chosen(want_agent=("a{sv}", want), context=("s", str(number))))


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"uri": variant("as", ["https://example.org"])},
        {"uri": variant("s", "javascript:alert(1)")},
        {"uri": variant("s", "file:///etc/passwd")},
        {"url": variant("s", "https://example.org")},
        {**WANT, "desktop-id": variant("s", "a")},
        {"desktop-id": variant("s", "a"), "uris": variant("s", "https://example.org")},
        {"bus-name": variant("s", ":1.1"), "action": variant("s", "x")},
        {"bus-name": variant("s", "a.b"), "action": variant("s", "x"), "object-path": variant("s", "/a")},
        {"bus-name": variant("s", "a.b"), "action": variant("s", "x"), "parameter": variant("h", 0)},
        {"bus-name": variant("s", "a.b"), "action": variant("s", "x"), "parameter": variant("s", "x" * 5000)},
    ],
)
async def test_what_a_click_can_not_do(agent: Scene, client: AgentClient, wrong: dict[str, Any]) -> None:
    given = chosen(want_agent=("a{sv}", wrong))
    refused = await client.refused("StartBackgroundRunning", ["voip"], given)
    assert refused.code == 401
    assert "want-agent" in refused.text
    assert agent.logind.locks == []


@pytest.mark.skipif(not ROOT_RUNS, reason="takes two users")
async def test_a_click_is_for_the_own_user_alone(client: AgentClient, stranger: AgentClient) -> None:
    with running(user=65534) as pid:
        given = chosen(pid=("u", pid), want_agent=("a{sv}", WANT))
        assert (await client.refused("StartBackgroundRunning", ["voip"], given)).code == 201
        await begin(stranger, given)


@pytest.mark.skipif(not ROOT_RUNS, reason="takes two users")
async def test_texts_are_the_users_own(agent: Scene, client: AgentClient, stranger: AgentClient) -> None:
    task_id = await client.begin("dataTransfer", title="Dr. No", text="at ten", context="reel 2")
    progress = {"file-name": variant("s", "secret.pdf"), "value": variant("u", 7)}
    await client.call("UpdateDataTransferProgress", task_id, progress)
    [[told]] = await client.call("GetAllContinuousTasks", True)
    assert (told["title"].value, told["text"].value) == ("Dr. No", "at ten")
    own, others = await shown(client, task_id), await shown(stranger, task_id)
    assert (own["Title"], own["Text"], own["Progress"]["file-name"]) == ("Dr. No", "at ten", "secret.pdf")
    assert (own["Context"], others["Context"]) == ("reel 2", "")
    assert (others["Title"], others["Text"]) == ("", "")
    assert others["Progress"] == {"title": "", "file-name": "", "value": 7}
    objects = await stranger.objects()
    assert objects[path_of(task_id)][bus_names.CONTINUOUS_TASK] == others
    assert (await client.objects())[path_of(task_id)][bus_names.CONTINUOUS_TASK] == own
    get = ("Get", bus_names.CONTINUOUS_TASK, "Title")
    how = {"path": path_of(task_id), "interface": "org.freedesktop.DBus.Properties", "signature": "ss"}
    assert [unwrap(await each.call(*get, **how)) for each in (client, stranger)] == [["Dr. No"], [""]]
    await client.until_property(path_of(task_id), "Progress", lambda value: value["value"] == 7)
    said = str([unwrap(message.body) for message in client.signals])
    said += str(agent.locks)
    for text in ("Dr. No", "at ten", "secret.pdf"):
        assert text not in said


async def test_counts_are_told_once_a_turn(client: AgentClient) -> None:
    serials = [
        await client.start("StartBackgroundRunning", ["voip"], options(context=str(n))) for n in range(8)
    ]
    for serial in serials:
        await client.answer(serial)
    request_id, _ = await client.request()
    for name, wanted in (("ContinuousTasks", 8), ("TransientTasks", 1), ("LocksHeld", 9)):
        await client.until_property(bus_names.MANAGER_PATH, name, partial(eq, wanted))
    client.forget()
    await client.call("UpdateBackgroundRunning", ["location"], options(context="0"))
    await client.settle()
    counted = [each for each in client.signals if each.path == bus_names.MANAGER_PATH]
    assert counted == []
    await client.call("CancelSuspendDelay", request_id)
    await client.until_property(bus_names.MANAGER_PATH, "LocksHeld", lambda value: value == 8)


async def test_when_a_request_began_and_ends(client: AgentClient) -> None:
    request_id, granted = await client.request()
    found = await client.properties(
        f"{bus_names.MANAGER_PATH}/transient/{request_id}", bus_names.TRANSIENT_TASK
    )
    assert found["Deadline"] - found["Started"] == granted * 1000
    assert abs(found["Started"] / 1e6 - time.time()) < 60
