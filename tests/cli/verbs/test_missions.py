# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from typing import Any

import pytest

from cli.conftest import Missionctl
from missiond.bus.variants import variant
from missiond.errors import MissionNotFound, PermissionDenied
from standins.agents.agent import StandInAgent
from standins.agents.peer_unit import ROW


def info(number: int, *, locked: bool = False) -> dict[str, Any]:
    """What GetMissionInfo tells of a mission."""
    row = (number, *ROW[1:7], locked, *ROW[8:])
    return {key: variant(kind, value) for (key, kind), value in zip(_KEYS, row, strict=True)}


_KEYS = (
    ("mission-id", "u"), ("label", "s"), ("icon", "s"), ("app-id", "s"), ("pid", "u"), ("uid", "u"),
    ("running-state", "s"), ("locked", "b"), ("continuable", "b"), ("tag", "i"), ("started", "t"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("verb", "member"),
    [("terminate", "TerminateMission"), ("lock", "LockMission"), ("unlock", "UnlockMission")],
)
async def test_each_once_in_the_order_given(
    agent: StandInAgent, missionctl: Missionctl, verb: str, member: str
) -> None:
    agent.continuations.infos = {7: info(7), 3: info(3)}
    result = await missionctl(verb, "7", "3", "7")
    assert (result.status, result.out, result.err) == (0, "", "")
    assert agent.script.calls[2:] == [(member, 7), (member, 3)]


@pytest.mark.parametrize("verb", ["terminate", "lock", "unlock"])
async def test_all_or_none(agent: StandInAgent, missionctl: Missionctl, verb: str) -> None:
    agent.continuations.infos = {7: info(7)}
    result = await missionctl(verb, "7", "99999")
    assert (result.status, result.err) == (5, "missionctl: there is no mission 99999 (16300502)\n")
    agent.continuations.infos[3] = info(3, locked=True)
    result = await missionctl("terminate", "7", "3")
    said = "missionctl: mission 3 is locked; unlock it first, with `missionctl unlock 3`\n"
    assert (result.status, result.err) == (4, said)
    assert {call[0] for call in agent.script.calls} == {"GetMissionInfo"}


async def test_what_the_agent_says(agent: StandInAgent, missionctl: Missionctl) -> None:
    agent.script.failures["TerminateMission"] = PermissionDenied("mission 7 is locked; unlock it")
    result = await missionctl("terminate", "7")
    assert (result.status, result.err) == (4, "missionctl: mission 7 is locked; unlock it (201)\n")
    assert agent.script.calls == [("TerminateMission", 7)]
    agent.script.failures["TerminateMission"] = MissionNotFound("there is no mission 7")
    assert (await missionctl("terminate", "7")).status == 5


@pytest.mark.parametrize("words", [["0"], ["-1"], ["x"], [""], ["4294967296"], ["1" * 5000], []])
async def test_what_is_no_mission(agent: StandInAgent, missionctl: Missionctl, words: list[str]) -> None:
    assert (await missionctl("terminate", *words)).status == 2
    assert agent.script.calls == []


async def test_none(agent: StandInAgent, missionctl: Missionctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    said = "No missions of yours; of others: --all\n"
    assert (await missionctl("missions")).out == said
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert (await missionctl("missions")).out == "No missions.\n"
    assert (await missionctl("missions", "--json")).out == "[]\n"
