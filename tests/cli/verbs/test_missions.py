# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cli.conftest import Missionctl
from missiond.errors import MissionNotFound, PermissionDenied
from standins.agents.agent import StandInAgent


@pytest.mark.parametrize(
    ("verb", "member"),
    [("terminate", "TerminateMission"), ("lock", "LockMission"), ("unlock", "UnlockMission")],
)
async def test_each_once_in_the_order_given(
    agent: StandInAgent, missionctl: Missionctl, verb: str, member: str
) -> None:
    result = await missionctl(verb, "7", "3", "7")
    assert (result.status, result.out, result.err) == (0, "", "")
    assert agent.script.calls == [(member, 7), (member, 3)]


async def test_the_first_that_fails_ends_it(agent: StandInAgent, missionctl: Missionctl) -> None:
    agent.script.failures["TerminateMission"] = PermissionDenied("mission 7 is locked; unlock it")
    result = await missionctl("terminate", "7", "3")
    assert (result.status, result.err) == (4, "missionctl: mission 7 is locked; unlock it (201)\n")
    assert agent.script.calls == [("TerminateMission", 7)]
    agent.script.failures["TerminateMission"] = MissionNotFound("there is no mission 7")
    assert (await missionctl("terminate", "7")).status == 5


@pytest.mark.parametrize("words", [["0"], ["-1"], ["x"], [""], ["4294967296"], ["1" * 5000], []])
async def test_what_is_no_mission(agent: StandInAgent, missionctl: Missionctl, words: list[str]) -> None:
    assert (await missionctl("terminate", *words)).status == 2
    assert agent.script.calls == []


async def test_none(agent: StandInAgent, missionctl: Missionctl) -> None:
    assert (await missionctl("missions")).out == "No missions.\n"
    assert (await missionctl("missions", "--json")).out == "[]\n"
