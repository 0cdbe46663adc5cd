# SPDX-License-Identifier: Apache-2.0
"""Transient tasks over the bus: what is answered, what is refused."""

from __future__ import annotations

import asyncio
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from missiond.bus.variants import variant
from missiond.host.clocks.boottime import BootClock
from missiond.store import quota_usage
from missiond.store.quota_usage import UsageJournal
from standins.clients.agent_client import AgentClient, agent_client, options
from standins.clients.other_user import other_process
from standins.programs.running import running
from standins.worlds.scene import Scene

NO_SUCH_PID = 2**22 + 1
DAY = 86_400_000
LAST_ID = 2**32 - 1


async def test_from_request_to_cancel(agent: Scene, client: AgentClient) -> None:
    request_id, delay = await client.request("photos")
    assert (request_id, delay) == (1, 180_000)
    [lock] = agent.logind.held
    assert (lock.what, lock.mode) == ("sleep", "block")
    assert "photos" in lock.why
    assert f"pid {os.getpid()}" in lock.who
    [remaining] = await client.call("GetRemainingDelayTime", request_id)
    assert 170_000 < remaining <= 180_000
    quota, live = await client.call("GetTransientTaskInfo")
    assert 590_000 < quota <= 600_000
    assert [task[0] for task in live] == [request_id]
    assert await client.call("CancelSuspendDelay", request_id) == []
    await client.settle()
    assert client.heard("SuspendDelayEnded", "SuspendDelayExpiring") == [
        ("SuspendDelayEnded", request_id, "cancelled")
    ]
    assert agent.logind.held == []
    assert agent.files("transient") == []
    assert agent.store.names == []


async def test_the_quota_is_what_overlapping_requests_used_together(client: AgentClient) -> None:
    first, _ = await client.request()
    await client.request(delay=60_000)
    quota, live = await client.call("GetTransientTaskInfo")
    assert quota > 590_000
    assert len(live) == 2
    assert live[1][1] <= 60_000
    await client.call("CancelSuspendDelay", first)


async def test_requests_without_end_make_no_file_without_end(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many lines give way to what the agent knows, which is all that the next run has to know."""
    monkeypatch.setattr(quota_usage, "SHORTEN_AFTER", 12)
    file = scene.state / "usage"
    await scene.start()
    async with agent_client(scene.address) as client:
        longest, _ = await client.request("all the time")
        lines: list[int] = []
        for _ in range(40):
            request_id, _ = await client.request()
            [before, _] = await client.call("GetTransientTaskInfo")
            while (await client.call("GetTransientTaskInfo"))[0] == before:
                await asyncio.sleep(0)  # it uses a ms
            await client.call("CancelSuspendDelay", request_id)
            lines.append(file.read_bytes().count(b"\n"))
        assert max(lines) < 12
        assert sum(after < before for before, after in pairwise(lines)) == 3
        await client.call("CancelSuspendDelay", longest)
        [quota, _] = await client.call("GetTransientTaskInfo")
    used = UsageJournal(file, list).load(BootClock(), DAY)
    assert sum(usage.end_ms - usage.start_ms for usage in used) == 600_000 - quota


async def test_a_request_of_a_named_process_outlives_its_client(agent: Scene, client: AgentClient) -> None:
    with running() as pid:
        async with agent_client(agent.address) as asking:
            request_id, _ = await asking.request(pid=pid)
        await client.settle()
        [lock] = agent.logind.held
        assert f"pid {pid}" in lock.who
    await client.until("SuspendDelayEnded", request_id, "owner-exited")
    assert agent.logind.held == []


async def test_a_request_without_pid_ends_with_its_connection(agent: Scene, client: AgentClient) -> None:
    async with agent_client(agent.address) as asking:
        request_id, _ = await asking.request()
    await client.until("SuspendDelayEnded", request_id, "owner-exited")
    await client.settle()
    assert len(client.heard("SuspendDelayEnded")) == 1
    assert agent.logind.held == []


async def test_a_fourth_request_is_one_too_many(client: AgentClient) -> None:
    for _ in range(3):
        await client.request()
    refused = await client.refused("RequestSuspendDelay", "more", {})
    assert refused.name == "org.missiond.Agent1.Error.TransientTaskVerificationFailed"
    assert refused.code == 9900002


@pytest.mark.parametrize("member", ["GetRemainingDelayTime", "CancelSuspendDelay"])
async def test_ids_that_are_nobodys(client: AgentClient, member: str) -> None:
    request_id, _ = await client.request()
    assert (await client.refused(member, 0)).code == 401
    assert (await client.refused(member, LAST_ID)).code == 9900001
    assert (await client.refused(member, request_id + 1)).code == 9900001
    await client.call("CancelSuspendDelay", request_id)
    assert (await client.refused(member, request_id)).code == 9900001


async def test_a_foreign_id_is_as_good_as_none(
    client: AgentClient, stranger: AgentClient, agent: Scene
) -> None:
    async with other_process(agent.address, os.getuid()) as (owner, _):
        request_id, _ = await owner.request()
        # Another process of the same user may; where tests are not run by root, all are one user.
        await client.call("GetRemainingDelayTime", request_id)
        if os.getuid() == 0:
            for member in ("GetRemainingDelayTime", "CancelSuspendDelay"):
                refused = await stranger.refused(member, request_id)
                assert (refused.code, refused.text) == (
                    9900001,
                    (await stranger.refused(member, request_id)).text,
                )
        await owner.call("CancelSuspendDelay", request_id)


@pytest.mark.parametrize(
    "chosen",
    [
        {"Pid": variant("u", 1)},
        {"pids": variant("u", 1)},
        {"": variant("u", 1)},
        {"pid": variant("i", 1)},
        {"pid": variant("s", "1")},
        {"delay": variant("t", 1000)},
        {"delay": variant("v", variant("u", 1000))},
        {"delay": variant("u", 0)},
        {"pid": variant("u", 0)},
        {"keep-alive": variant("s", "none")},
        {"é\n\x7f" * 500: variant("u", 1)},
    ],
)
async def test_options_are_taken_strictly(agent: Scene, client: AgentClient, chosen: dict[str, Any]) -> None:
    refused = await client.refused("RequestSuspendDelay", "x", chosen)
    assert refused.code == 401
    assert len(refused.text) < 400
    assert "\n" not in refused.text
    assert agent.logind.locks == []


@pytest.mark.parametrize(
    ("member", "signature", "body"),
    [
        ("RequestSuspendDelay", "s", ("x",)),
        ("RequestSuspendDelay", "", ()),
        ("RequestSuspendDelay", "ua{sv}", (1, {})),
        ("CancelSuspendDelay", "i", (1,)),
        ("CancelSuspendDelay", "uu", (1, 1)),
        ("GetRemainingDelayTime", "s", ("1",)),
        ("GetTransientTaskInfo", "u", (1,)),
    ],
)
async def test_wrong_types(client: AgentClient, member: str, signature: str, body: tuple[Any, ...]) -> None:
    refused = await client.refused(member, *body, signature=signature)
    assert refused.name == "org.missiond.Agent1.Error.InvalidParameter"
    assert refused.code == 401


@pytest.mark.parametrize("pid", [NO_SUCH_PID, 2**31 - 1, 2**31, 2**32 - 1])
async def test_processes_that_are_not_there(agent: Scene, client: AgentClient, pid: int) -> None:
    assert (await client.refused("RequestSuspendDelay", "x", options(pid=pid))).code == 9900001
    refused = await client.refused("StartBackgroundRunning", ["voip"], options(pid=pid))
    assert refused.code == 9900001
    assert agent.logind.locks == []


async def test_a_dead_process(client: AgentClient) -> None:
    with running() as pid:
        pass
    assert (await client.refused("RequestSuspendDelay", "x", options(pid=pid))).code == 9900001


async def test_another_users_process_takes_manage_others(
    agent: Scene, client: AgentClient, stranger: AgentClient
) -> None:
    if Path("/proc/1").stat().st_uid != 0:
        pytest.skip("pid 1 is not another user's here")
    # The tests' own process is root's where the stranger is not root.
    for pid in {1, os.getpid() if os.getuid() == 0 else 1}:
        refused = await stranger.refused("RequestSuspendDelay", "x", options(pid=pid))
        assert refused.code == 201
        assert "manage-others" in refused.text
    agent.polkit.allowed.add("org.missiond.Agent1.manage-others")
    request_id, _ = await stranger.request(pid=1)
    assert "pid 1, uid 0" in agent.logind.held[0].who
    # It belongs to the other user now.
    assert (await stranger.refused("CancelSuspendDelay", request_id)).code == 9900001


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("", ""),
        ("été – 夜 🌙", "été – 夜 🌙"),
        ("a\nb\tc\x1b[31md\x7fe\u2028f", "a b c [31md e f"),
        ("x" * 1024, None),
        ("é" * 512, None),
    ],
    ids=["nothing", "beyond ascii", "controls", "longest", "longest in two bytes"],
)
async def test_reasons_that_are_served(
    agent: Scene, client: AgentClient, reason: str, shown: str | None
) -> None:
    request_id, _ = await client.request(reason)
    [lock] = agent.logind.held
    assert lock.why.isprintable()
    if shown is not None:
        path = f"/org/missiond/Agent1/transient/{request_id}"
        found = await client.properties(path, "org.missiond.Agent1.TransientTask")
        assert found["Reason"] == shown
        assert lock.why == f"transient task {request_id}: {shown}"
    await client.call("CancelSuspendDelay", request_id)
    await client.settle()
    assert client.heard("SuspendDelayEnded") == [("SuspendDelayEnded", request_id, "cancelled")]


@pytest.mark.parametrize(
    "reason",
    ["x" * 1025, "é" * 513, "x" * 2**20, "\x01" * 2**20],
    ids=["a byte", "two bytes", "a megabyte", "controls"],
)
async def test_reasons_that_are_too_long(agent: Scene, client: AgentClient, reason: str) -> None:
    refused = await client.refused("RequestSuspendDelay", reason, {})
    assert refused.code == 401
    assert len(refused.text) < 300
    assert agent.logind.locks == []
    await client.request("still there")


async def test_a_delay_that_is_asked_for_is_the_most_that_is_given(client: AgentClient) -> None:
    assert (await client.request(delay=5_000))[1] == 5_000
    assert (await client.request(delay=2**32 - 1))[1] == 180_000


async def test_no_quota_no_request(agent: Scene, client: AgentClient) -> None:
    agent.configure("[Transient]\nQuota=16s\nMinimumQuota=16s\n")
    await client.call("Reload", interface="org.missiond.Agent1.Manager")
    request_id, delay = await client.request()
    assert delay == 16_000
    while (await client.call("GetTransientTaskInfo"))[0] == 16_000:
        pass
    await client.call("CancelSuspendDelay", request_id)
    refused = await client.refused("RequestSuspendDelay", "x", {})
    assert refused.code == 9900002
    assert "quota" in refused.text


async def test_a_warning_and_an_end_exactly_once(agent: Scene, client: AgentClient) -> None:
    agent.configure("[Transient]\nWarningTime=100ms\n")
    await client.call("Reload", interface="org.missiond.Agent1.Manager")
    request_id, _ = await client.request(delay=250)
    await client.until("SuspendDelayEnded")
    await client.settle()
    heard = client.heard("SuspendDelayExpiring", "SuspendDelayEnded")
    assert [signal[:2] for signal in heard] == [
        ("SuspendDelayExpiring", request_id),
        ("SuspendDelayEnded", request_id),
    ]
    assert 0 < heard[0][2] <= 100
    assert heard[1][2] == "expired"
    assert agent.logind.held == []
    assert agent.files("transient") == []
