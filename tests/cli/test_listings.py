# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import re

import pytest

import missiond
from missiond.errors import PermissionDenied, SystemServiceFailed
from standins.agents.agent import STARTED, StandInAgent

from .conftest import Missionctl


async def test_status_for_people(agent: StandInAgent, missionctl: Missionctl) -> None:
    agent.script.manager["Degraded"] = ["no polkit: \x1b[31monly root", "no logind"]
    result = await missionctl("status")
    assert result.status == 0
    assert result.out.splitlines() == [
        "missiond 1.2.3",
        "  Battery:  87 %, on battery",
        "  Tasks:    0 transient, 0 continuous",
        "  Locks:    0 held",
        "  Degraded: no polkit: \N{REPLACEMENT CHARACTER}[31monly root",
        "            no logind",
    ]


async def test_status_without_a_battery(agent: StandInAgent, missionctl: Missionctl) -> None:
    agent.script.manager |= {"BatteryPresent": False, "BatteryPercent": -1.0, "OnExternalPower": True}
    out = (await missionctl("status")).out
    assert "Battery:  none\n" in out
    assert "Degraded: no\n" in out
    assert json.loads((await missionctl("status", "--json")).out)["battery"] == {
        "present": False,
        "percent": None,
        "on_external_power": True,
        "low": False,
        "critical": False,
    }


async def test_status_for_programs(agent: StandInAgent, missionctl: Missionctl) -> None:
    agent.script.manager["LowBattery"] = True
    assert json.loads((await missionctl("status", "--json")).out) == {
        "version": "1.2.3",
        "degraded": [],
        "battery": {
            "present": True,
            "percent": 87.4,
            "on_external_power": False,
            "low": True,
            "critical": False,
        },
        "transient_tasks": 0,
        "continuous_tasks": 0,
        "suspended_tasks": 0,
        "locks_held": 0,
    }


@pytest.mark.parametrize(
    ("low", "critical", "shown"),
    [(False, False, ""), (True, False, ", low"), (True, True, ", critical")],
)
async def test_status_says_what_the_battery_allows(
    agent: StandInAgent, missionctl: Missionctl, low: bool, critical: bool, shown: str
) -> None:
    agent.script.manager |= {"LowBattery": low, "CriticalBattery": critical}
    assert f"Battery:  87 %, on battery{shown}\n" in (await missionctl("status")).out
    battery = json.loads((await missionctl("status", "--json")).out)["battery"]
    assert (battery["low"], battery["critical"]) == (low, critical)


async def two_tasks(client: missiond.Agent) -> None:
    await client.delay_sleep("saving\n\x1b[2J")
    await client.keep_awake("photos", mode=["dataTransfer", "voip"], context="a")


async def test_tasks_for_people(agent: StandInAgent, missionctl: Missionctl, client: missiond.Agent) -> None:
    await two_tasks(client)
    agent.tasks["transient", 1].values["Locked"] = False
    agent.tasks["continuous", 1].values |= {
        "Suspended": True,
        "SuspendReason": 32,
        "Missing": ["oom", "logout"],
    }
    header, first, second = (await missionctl("tasks")).out.splitlines()
    assert header.split() == ["TASK", "USER", "PID", "APPLICATION", "SINCE", "LOCK", "LEFT", "WHY"]
    assert first.startswith("continuous/1  ")
    assert first.endswith(
        "-         dataTransfer, voip: photos (40 %) [missing: oom, logout] [suspended: battery critical]"
    )
    assert second.startswith("transient/1 ")
    assert "(sleep: not held)  2min 41s  saving\N{REPLACEMENT CHARACTER}" in second
    assert "\x1b" not in second
    assert header.index("WHY") == first.index("dataTransfer") == second.index("saving")
    agent.tasks["continuous", 1].values |= {"Started": 86_400_000_000, "Deadline": 4_102_444_800_000_000}
    _, first, _ = (await missionctl("tasks", TZ="UTC")).out.splitlines()
    assert first.split()[4:6] == ["1970-01-02", "00:00"]
    assert re.search(r"sleep +\d+d .*  dataTransfer", first)


async def test_tasks_for_programs(
    agent: StandInAgent, missionctl: Missionctl, client: missiond.Agent
) -> None:
    await two_tasks(client)
    application = agent.tasks["transient", 1].values["AppId"]
    common = {
        "application": application,
        "uid": os.getuid(),
        "pid": os.getpid(),
        "lock": "sleep",
        "locked": True,
        "started_us": STARTED,
        "deadline_us": None,
    }
    assert json.loads((await missionctl("tasks", "--json")).out) == [
        {"task": "continuous/1", "kind": "continuous", "id": 1}
        | common
        | {
            "modes": ["dataTransfer", "voip"],
            "context": "a",
            "title": "photos",
            "text": "",
            "inhibit": [],
            "missing": [],
            "check": "off",
            "keep_alive": "protect",
            "suspended": False,
            "suspend_reason": 0,
            "notification_id": -1,
            "progress": {"title": "", "file_name": "", "value": 40},
        },
        {"task": "transient/1", "kind": "transient", "id": 1}
        | common
        | {"reason": "saving\n\x1b[2J", "granted_ms": 180_000, "remaining_ms": 161_000},
    ]


async def test_tasks_of_others_alone(
    agent: StandInAgent, missionctl: Missionctl, client: missiond.Agent
) -> None:
    await two_tasks(client)
    for task in agent.tasks.values():
        task.values["Uid"] = os.getuid() + 1
    everybody = (await missionctl("tasks", "--all")).out
    own = (await missionctl("tasks")).out
    assert own == (everybody if os.getuid() == 0 else "No tasks of yours; 2 of others: --all\n")


async def test_no_tasks(agent: StandInAgent, missionctl: Missionctl) -> None:
    assert (await missionctl("tasks")).out == "No tasks.\n"
    assert json.loads((await missionctl("tasks", "--all", "--json")).out) == []


async def test_remaining(agent: StandInAgent, missionctl: Missionctl, client: missiond.Agent) -> None:
    await client.delay_sleep("a")
    assert (await missionctl("remaining", "1")).out == "2min 41s\n"
    assert (
        await missionctl("remaining")
    ).out == "Quota left to missionctl: 7min\nTASK         LEFT\ntransient/1  2min 41s\n"
    entry = {"task": "transient/1", "id": 1, "remaining_ms": 161_000}
    assert json.loads((await missionctl("remaining", "--json")).out) == {
        "remaining_quota_ms": 420_000,
        "transient_tasks": [entry],
    }
    assert json.loads((await missionctl("remaining", "transient/1", "--json")).out) == entry


async def test_remaining_of_what_has_no_end_or_is_not_there(
    agent: StandInAgent, missionctl: Missionctl
) -> None:
    assert (await missionctl("remaining", "continuous/1")).status == 2
    result = await missionctl("remaining", "9")
    assert (result.status, result.err) == (5, "missionctl: no live request 9 of this user (9900001)\n")


async def test_a_denial_and_a_failure(agent: StandInAgent, missionctl: Missionctl) -> None:
    agent.script.failures["GetTransientTaskInfo"] = PermissionDenied("polkit denies it; see polkit(8)")
    result = await missionctl("remaining")
    assert (result.status, result.out) == (4, "")
    assert result.err == (
        "missionctl: polkit denies it; run it with sudo, or see polkit in missiond(8) (201)\n"
    )
    agent.script.failures["GetTransientTaskInfo"] = SystemServiceFailed("internal error")
    assert (await missionctl("remaining")).status == 1


async def test_the_session_bus(
    agent: StandInAgent, missionctl: Missionctl, environment: dict[str, str]
) -> None:
    result = await missionctl(
        "--session", "status", DBUS_SESSION_BUS_ADDRESS=environment["DBUS_SYSTEM_BUS_ADDRESS"]
    )
    assert result.status == 0


async def test_nobody_on_the_bus(missionctl: Missionctl) -> None:
    for verb in (["status"], ["tasks"], ["remaining"], ["delay"], ["cancel", "1"]):
        result = await missionctl(*verb)
        assert (result.status, result.out) == (3, ""), verb
        assert result.err.startswith("missionctl: there is no agent on the system bus (")
        assert result.err.endswith("); start the agent with `systemctl start missiond`\n")


async def test_no_bus(missionctl: Missionctl) -> None:
    result = await missionctl("--session", "status")
    assert result.status == 3
    assert result.err == (
        "missionctl: there is no session bus (No such file or directory); is this a session of a desktop?\n"
    )
