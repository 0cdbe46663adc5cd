# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import json
import os
import pty
import signal

import pytest

from cli.conftest import MISSIONCTL, Missionctl
from missiond.errors import ContinueInProgress
from standins.agents.agent import StandInAgent
from standins.agents.continuations import ROW, SENDING
from standins.agents.peer_unit import OWN, A


def asked(agent: StandInAgent) -> list[tuple[object, ...]]:
    """What was asked for beside lists."""
    return [call for call in agent.script.calls if not call[0].startswith("List")]


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (["7", "--to", "laptop"], ("ContinueMission", OWN, A, 7, {})),
        (["--from", "aaaa", "7"], ("ContinueMission", A, OWN, 7, {})),
        (["org.example.X", "--to", A], ("ContinueApplication", OWN, A, "org.example.X", {})),
        (
            ["7", "--to", "laptop", "--keep-source", "--free-install"],
            ("ContinueMission", OWN, A, 7, {"keep-source": True, "isFreeInstall": True}),
        ),
        (["7", "--to", A, "--without-tasks"], ("ContinueMission", OWN, A, 7, {"with-tasks": False})),
        (["7", "--to", A, "--require-tasks"], ("ContinueMission", OWN, A, 7, {"require-tasks": True})),
    ],
    ids=repr,
)
async def test_there_and_here(
    agent: StandInAgent, missionctl: Missionctl, words: list[str], call: tuple[object, ...]
) -> None:
    result = await missionctl("continue", *words)
    assert result.status == 0, result.err
    assert asked(agent) == [call]
    where = "this host" if call[1] == A else "laptop"
    assert result.out == f"Mission {call[3]} continues on {where}.\n"
    assert result.err == "offered\nsending  25 %  1.0 MiB of 4.0 MiB\nstarted\n"


async def test_an_installation(agent: StandInAgent, missionctl: Missionctl) -> None:
    agent.continuations.progress.insert(1, ("installing", 40, 100, "installing its program there"))
    result = await missionctl("continue", "7", "--to", "laptop", "--free-install")
    assert result.status == 0, result.err
    assert result.err.splitlines()[1] == "installing  40 %  installing its program there"


async def test_percentages_are_of_the_way_and_a_failure_is_said_once(
    agent: StandInAgent, missionctl: Missionctl
) -> None:
    agent.continuations.progress += [
        ("stopping", 0, 4 << 20, "ending it here"),
        ("failed", 0, 0, "no, not that"),
    ]
    agent.continuations.result = 16300501
    result = await missionctl("continue", "7", "--to", "laptop")
    assert "stopping  ending it here" in result.err.splitlines()
    assert result.err.count("no, not that") == 1


async def test_what_could_not_go_along(agent: StandInAgent, missionctl: Missionctl) -> None:
    agent.continuations.progress.append(("done", 0, 0, "voip: this user has 1 continuous tasks"))
    result = await missionctl("continue", "7", "--to", "laptop")
    assert (result.status, result.out) == (0, "Mission 7 continues on laptop.\n")
    assert result.err.splitlines()[-1] == "missionctl: warning: voip: this user has 1 continuous tasks"


async def test_json(agent: StandInAgent, missionctl: Missionctl) -> None:
    result = await missionctl("continue", "7", "--to", "laptop", "--json")
    assert [json.loads(line)["phase"] for line in result.out.splitlines()] == [
        "offered",
        "sending",
        "sending",
        "started",
    ]
    assert result.err == ""


@pytest.mark.parametrize(
    ("code", "status"),
    [(16300501, 1), (16300502, 5), (16300503, 5), (16300504, 5), (16300505, 2), (16300506, 6), (7, 1)],
)
async def test_how_it_failed(agent: StandInAgent, missionctl: Missionctl, code: int, status: int) -> None:
    agent.continuations.result = code
    agent.continuations.progress.append(("ended", 0, 0, "have\x1b it done"))
    result = await missionctl("continue", "7", "--to", "laptop")
    assert (result.status, result.out) == (status, "")
    shown = code if code != 7 else 16300501
    assert result.err.splitlines()[-1] == f"missionctl: have\x1b it done ({shown})".replace("\x1b", "\ufffd")
    agent.continuations.progress.clear()
    assert "journalctl" in (await missionctl("continue", "7", "--to", "laptop")).err


async def test_refused_at_once(agent: StandInAgent, missionctl: Missionctl) -> None:
    agent.script.failures["ContinueMission"] = ContinueInProgress("mission 7 is on its way")
    result = await missionctl("continue", "7", "--to", "laptop")
    assert (result.status, result.err) == (6, "missionctl: mission 7 is on its way (16300506)\n")
    assert (await missionctl("continue", "7", "--to", "nobody")).status == 5
    agent.peers.on = False
    assert (await missionctl("continue", "7", "--to", "laptop")).status == 1


@pytest.mark.parametrize(
    "words",
    [
        ["continue", "7"],
        ["continue", "--to", "laptop"],
        ["continue", "7", "--to", "a", "--from", "b"],
        ["continue", "0", "--to", "a"],
        ["continue", "", "--to", "a"],
        ["continue", "a\nb", "--to", "a"],
        ["continue", "x" * 300, "--to", "a"],
        ["reclaim"],
        ["reclaim", ""],
        ["reclaim", "xyz"],
        ["drop", "a" * 33],
        ["in-flight", "x"],
    ],
    ids=repr,
)
async def test_wrong_usage(agent: StandInAgent, missionctl: Missionctl, words: list[str]) -> None:
    assert (await missionctl(*words)).status == 2
    assert agent.script.calls == []


async def test_interrupted_it_goes_on(agent: StandInAgent, environment: dict[str, str]) -> None:
    agent.continuations.result = None
    agent.continuations.progress = [SENDING]
    process = await asyncio.create_subprocess_exec(
        *MISSIONCTL, "continue", "7", "--to", "laptop", stderr=asyncio.subprocess.PIPE, env=environment
    )
    assert process.stderr is not None
    assert (await process.stderr.readline()).startswith(b"sending")
    process.send_signal(signal.SIGINT)
    said = (await process.stderr.read()).decode()
    assert await process.wait() == -signal.SIGINT
    assert said == (
        "missionctl: a hand-over that has begun continues; `missionctl in-flight` shows its progress\n"
    )


async def test_on_a_terminal_one_line_changes(agent: StandInAgent, environment: dict[str, str]) -> None:
    master, slave = pty.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            *MISSIONCTL, "continue", "7", "--to", "laptop", stderr=slave, env=environment
        )
        assert await process.wait() == 0
        shown = os.read(master, 4096).decode()
    finally:
        os.close(master)
        os.close(slave)
    assert shown.split("\r")[2:4] == [
        "sending  25 %  1.0 MiB of 4.0 MiB\x1b[K",
        "sending  50 %  2.0 MiB of 4.0 MiB\x1b[K",
    ]
    assert shown.endswith("started\x1b[K\r\n")


async def test_in_flight(agent: StandInAgent, missionctl: Missionctl) -> None:
    assert (await missionctl("in-flight")).out == "No unfinished hand-overs.\n"
    assert (await missionctl("in-flight", "--json")).out == "[]\n"
    agent.continuations.rows = [
        ROW,
        ROW | {"transfer": "ac" * 16, "role": "target", "device-id": "c" * 64, "phase": "receiving",
               "in-doubt": False, "can-reclaim": False, "reason": "", "app-id": "", "mission-id": 0},
    ]  # fmt: skip
    header, first, second, _, hint = (await missionctl("in-flight")).out.splitlines()
    assert header.split() == ["TRANSFER", "WAY", "PEER", "MISSION", "APPLICATION", "PHASE", "WHY"]
    assert first.split("  ")[0] == "ab" * 6
    assert "committed, in doubt" in first
    assert "laptop is not connected" in first
    assert second.split() == ["ac" * 6, "from", "c" * 16, "-", "Counter\ufffd", "receiving", "-"]
    assert "reclaim" in hint
    [row, _] = json.loads((await missionctl("in-flight", "--json")).out)
    assert row == {key.replace("-", "_"): value for key, value in ROW.items()}
    agent.peers.on = False
    assert "a" * 16 in (await missionctl("in-flight")).out


@pytest.mark.parametrize(
    ("verb", "member"), [("reclaim", "ReclaimContinuation"), ("drop", "DropContinuation")]
)
async def test_by_the_beginning(agent: StandInAgent, missionctl: Missionctl, verb: str, member: str) -> None:
    agent.continuations.rows = [ROW, ROW | {"transfer": "ac" * 16}]
    result = await missionctl(verb, "ab")
    assert (result.status, result.out, result.err) == (0, "", "")
    assert asked(agent) == [(member, "ab" * 16)]
    result = await missionctl(verb, "a")
    assert (result.status, result.err) == (2, "missionctl: 2 transfers begin with a; give more digits\n")
    result = await missionctl(verb, "b")
    assert result.status == 5
    assert "in-flight" in result.err
    assert len(asked(agent)) == 1
