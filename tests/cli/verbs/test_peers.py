# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from cli.conftest import MISSIONCTL, Missionctl
from missiond import bus_names
from missiond.errors import PermissionDenied
from standins.agents.agent import StandInAgent
from standins.agents.peer_unit import OWN, A, B


def changes(agent: StandInAgent) -> list[tuple[object, ...]]:
    """What was asked for beside lists."""
    return [call for call in agent.script.calls if call[0] != "ListPeers"]


async def test_listed(agent: StandInAgent, missionctl: Missionctl) -> None:
    for words in ([], ["list"]):
        header, first, second = (await missionctl("peers", *words)).out.splitlines()
        assert header.split() == ["DEVICE", "STATE", "MAY", "NAME", "ADDRESSES"]
        assert first.split() == ["a" * 16, "connected", "sync", "laptop", "192.0.2.1:8637"]
        assert second.split() == ["b" * 16, "discovered", "-", "desk�?", "192.0.2.1:8637"]
    [laptop, _] = json.loads((await missionctl("peers", "--json")).out)
    assert laptop == {
        "device_id": A,
        "name": "laptop",
        "state": "connected",
        "addresses": ["192.0.2.1:8637"],
        "permissions": ["sync"],
        "reason": "",
    }
    agent.peers.reasons[A] = "laptop does not let this host see its missions"
    header, first, second = (await missionctl("peers")).out.splitlines()
    assert header.split()[-1] == "REASON"
    assert first.endswith("laptop does not let this host see its missions")
    assert second.split()[-1] == "-"
    agent.peers.rows.clear()
    assert (await missionctl("peers")).out == "No peers; next: `missionctl peers pair`\n"
    assert (await missionctl("peers", "id")).out == f"{OWN}\n"


async def test_off(agent: StandInAgent, missionctl: Missionctl) -> None:
    agent.peers.on = False
    for words in (["list"], ["id"], ["pair"], ["unpair", "laptop"]):
        result = await missionctl("peers", *words)
        assert (result.status, result.out) == (1, "")
        assert result.err == "missionctl: peers are off on this host; turn them on (16300501)\n"
    assert (await missionctl("missions", "--on", "laptop")).status == 1
    assert (await missionctl("missions", "--all")).out == "No missions.\n"


@pytest.mark.parametrize("word", ["laptop", "aaaa", A])
async def test_devices_by_name_and_id(agent: StandInAgent, missionctl: Missionctl, word: str) -> None:
    assert (await missionctl("peers", "unpair", word)).status == 0
    assert changes(agent) == [("Unpair", A)]


@pytest.mark.parametrize(
    ("before", "words", "after"),
    [
        (["sync"], ["allow", "laptop", "continue"], ["sync", "continue"]),
        (["sync", "continue"], ["allow", "laptop", "sync"], ["sync", "continue"]),
        ([], ["allow", "laptop", "continue", "sync"], ["sync", "continue"]),
        (["sync", "continue"], ["allow", "laptop", "none"], []),
        (["sync", "continue"], ["disallow", "laptop", "sync"], ["continue"]),
        (["sync", "continue"], ["disallow", "laptop", "sync", "continue"], []),
        (["sync"], ["disallow", "laptop", "continue"], ["sync"]),
    ],
)
async def test_permissions_are_added_and_taken_away(
    agent: StandInAgent, missionctl: Missionctl, before: list[str], words: list[str], after: list[str]
) -> None:
    agent.peers.rows[A] = agent.peers.rows[A]._replace(permissions=before)
    result = await missionctl("peers", *words)
    assert (result.status, result.out) == (0, f"laptop may now: {', '.join(after) or 'nothing'}\n")
    assert changes(agent) == [("SetPeerPermissions", A, after)]


@pytest.mark.parametrize("word", ["nas", "nas?", B[:16], B[:4]])
async def test_an_unpaired_host_is_trusted_by_its_whole_id_alone(
    agent: StandInAgent, missionctl: Missionctl, word: str
) -> None:
    agent.peers.rows[B] = agent.peers.rows[B]._replace(name="nas", state="discovered")
    result = await missionctl("peers", "trust", word, "continue")
    assert result.status == 2
    assert "name it by its whole id" in result.err
    assert changes(agent) == []
    assert (await missionctl("peers", "trust", B)).status == 0


async def test_unknown_and_ambiguous(agent: StandInAgent, missionctl: Missionctl) -> None:
    for word in ("nobody", "aaa", "c" * 64, "", "\x1b[2J"):
        result = await missionctl("peers", "unpair", word)
        assert (result.status, "\x1b" in result.err) == (5, False)
    agent.peers.rows[B] = agent.peers.rows[B]._replace(name="laptop", state="offline")
    result = await missionctl("peers", "unpair", "laptop")
    assert (result.status, result.err) == (
        2, "missionctl: 2 devices are called laptop; name one by its id\n",
    )  # fmt: skip
    assert changes(agent) == []


@pytest.mark.parametrize("word", ["here", "0000", OWN])
async def test_this_host_is_no_peer_of_its_own(
    agent: StandInAgent, missionctl: Missionctl, word: str
) -> None:
    for words in (["peers", "pair"], ["peers", "unpair"], ["missions", "--on"]):
        result = await missionctl(*words, word)
        assert (result.status, result.out) == (2, "")
        said = f"{word} is this host itself; `missionctl peers list` shows the others"
        assert result.err == f"missionctl: {said}\n"
    agent.peers.rows[B] = agent.peers.rows[B]._replace(name="here")
    assert (await missionctl("peers", "pair", "here", stdin=b"y\n")).status == 0


async def test_a_paired_host_is_meant_before_one_that_calls_itself_so(
    agent: StandInAgent, missionctl: Missionctl
) -> None:
    agent.peers.rows[B] = agent.peers.rows[B]._replace(name="laptop")
    assert (await missionctl("peers", "unpair", "laptop")).status == 0
    assert changes(agent) == [("Unpair", A)]
    agent.peers.change(A, "offline")
    result = await missionctl("peers", "pair", "laptop")
    assert result.status == 6
    assert f"missionctl peers pair {B[:16]}" in result.err
    assert (await missionctl("peers", "pair", B[:16], stdin=b"y\n")).status == 0


async def test_trusted(agent: StandInAgent, missionctl: Missionctl) -> None:
    other = "c" * 64
    assert (await missionctl("peers", "trust", other)).status == 0
    words = ["peers", "trust", other, "sync", "continue", "--name", "nas", "--address", "nas:8637"]
    assert (await missionctl(*words)).status == 0
    assert changes(agent) == [
        ("TrustDevice", other, {}),
        (
            "TrustDevice",
            other,
            {"name": "nas", "address": "nas:8637", "permissions": ["sync", "continue"]},
        ),
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["list", "x"], ["id", "x"], ["enable", "x"], ["pair", "a", "b"], ["trust"], ["unpair"],
        ["unpair", "a", "b"], ["allow", "laptop"], ["allow", "laptop", "root"], ["dance"],
        ["disallow", "laptop"], ["disallow", "laptop", "none"], ["allow", "laptop", "sync", "none"],
        ["unpair", "a", "--name", "x"], ["id", "--json"], ["trust", "a", "sync", "none", "sync"],
    ],
)  # fmt: skip
async def test_wrong_usage(agent: StandInAgent, missionctl: Missionctl, words: Sequence[str]) -> None:
    result = await missionctl("peers", *words)
    assert (result.status, result.out, agent.script.calls) == (2, "", [])
    assert "see `missionctl peers --help`" in result.err


async def test_paired(agent: StandInAgent, missionctl: Missionctl) -> None:
    result = await missionctl("peers", "pair", "desk\x1b?", stdin=b"y\n")
    assert (result.status, result.err) == (0, "")
    assert "must both show the code   123 456\n" in result.out
    assert result.out.endswith("Paired with desk�.\n")
    assert changes(agent) == [("RequestPairing", B), ("ConfirmPairing", B, True)]


@pytest.mark.parametrize("answer", [b"", b"n\n", b"\n", b"yesterday\n"])
async def test_codes_that_differ(agent: StandInAgent, missionctl: Missionctl, answer: bytes) -> None:
    result = await missionctl("peers", "pair", "bbbb", stdin=answer)
    assert result.status == 6
    assert changes(agent)[-1] == ("ConfirmPairing", B, False)


async def test_the_other_host_says_yes_later_or_no(agent: StandInAgent, missionctl: Missionctl) -> None:
    agent.peers.answer = "pairing"
    for state, status in (("offline", 0), ("discovered", 6)):
        agent.script.calls.clear()
        running = asyncio.ensure_future(missionctl("peers", "pair", "bbbb", stdin=b"y\n"))
        while ("ConfirmPairing", B, True) not in agent.script.calls:
            await agent.until(calls=len(agent.script.calls) + 1)
        agent.peers.change(B, state)
        assert (await running).status == status


async def test_waiting_to_be_asked(agent: StandInAgent, environment: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *MISSIONCTL, "peers", "pair",
        env=environment, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    assert (await process.stdout.readline()).startswith(b"Waiting")
    agent.peers._server.emit(
        bus_names.MANAGER_PATH, bus_names.PEERS, "PairingRequested", B, "desk", "123 456"
    )
    assert b"123 456" in await process.stdout.readline()
    process.stdin.write(b"y\n")
    out, _ = await process.communicate()
    assert out.endswith("Paired with desk�.\n".encode())
    assert process.returncode == 0


NEXT = "Next: `missionctl peers pair` on one host, and `missionctl peers pair HOST` on the other."


async def test_who_may_not_pair_does_not_wait(agent: StandInAgent, missionctl: Missionctl) -> None:
    agent.peers.refuses = PermissionDenied("polkit denies it; see polkit(8)")
    result = await missionctl("peers", "pair")
    assert (result.status, result.out) == (4, "")


def systemctl(place: Path, status: int = 0) -> dict[str, str]:
    """An environment with a systemctl that writes down how it was called."""
    program = place / "systemctl"
    program.write_text(f'#!/bin/sh\necho "$@" >>{place}/called\nexit {status}\n')
    program.chmod(0o755)
    return {"PATH": f"{place}:/usr/bin:/bin"}


async def test_enabled_and_disabled(agent: StandInAgent, missionctl: Missionctl, tmp_path: Path) -> None:
    agent.peers.on = False
    running = asyncio.ensure_future(missionctl("peers", "enable", **systemctl(tmp_path)))
    while not (tmp_path / "called").exists():
        await asyncio.sleep(0.01)
    agent.peers.turn_on()
    result = await running
    assert (result.status, result.out) == (0, f"This host is {OWN}.\n{NEXT}\n")
    assert (await missionctl("peers", "disable", **systemctl(tmp_path))).status == 0
    assert (tmp_path / "called").read_text() == (
        "--quiet enable --now missiond-peers.service\n--quiet disable --now missiond-peers.service\n"
    )


async def test_systemd_refuses(agent: StandInAgent, missionctl: Missionctl, tmp_path: Path) -> None:
    result = await missionctl("peers", "enable", **systemctl(tmp_path, 4))
    assert (result.status, result.err) == (
        1, "missionctl: systemctl did not enable missiond-peers.service; see above\n",
    )  # fmt: skip
    assert (await missionctl("--session", "peers", "enable")).status == 2


async def test_missions_of_a_peer(agent: StandInAgent, missionctl: Missionctl) -> None:
    """Its list is kept for as long as missionctl runs, unless it is kept anyhow."""
    header, line = (await missionctl("missions", "--on", "laptop")).out.splitlines()
    assert header.split()[0] == "MISSION"
    assert line.split()[:4] == ["7", "1000", "4711", "org.example.Editor"]
    assert changes(agent) == [
        ("StartSyncRemoteMissions", A, True, 0),
        ("GetMissionInfos", A, 2**32 - 1),
        ("StopSyncRemoteMissions", A),
    ]
    agent.peers.synchronised.add(A)
    agent.script.calls.clear()
    [found] = json.loads((await missionctl("missions", "--on", "aaaa", "--json")).out)
    assert (found["mission"], found["device"]) == (7, A)
    assert changes(agent) == [("GetMissionInfos", A, 2**32 - 1)]


async def test_missions_of_a_peer_that_is_away(agent: StandInAgent, missionctl: Missionctl) -> None:
    agent.peers.rows[A] = agent.peers.rows[A]._replace(state="offline")
    result = await missionctl("missions", "--on", "laptop")
    assert (result.status, result.err) == (1, "missionctl: laptop is not connected (16300501)\n")
    assert ("StopSyncRemoteMissions", A) in changes(agent)[-2:]


async def test_missions_of_all(agent: StandInAgent, missionctl: Missionctl) -> None:
    assert (await missionctl("missions", "--all")).out == "No missions.\n"
    agent.peers.synchronised.add(A)
    header, line = (await missionctl("missions", "--all")).out.splitlines()
    assert header.split()[-2:] == ["HOST", "LABEL"]
    assert line.split()[-2:] == ["laptop", "Editor"]
    assert not any(call[0] == "StartSyncRemoteMissions" for call in agent.script.calls)
    assert (await missionctl("missions", "--all", "--on", "laptop")).status == 2


async def test_watching_a_peer(agent: StandInAgent, environment: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *MISSIONCTL, "missions", "--on", "laptop", "--watch", "--json",
        env=environment, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert len(json.loads(await process.stdout.readline())) == 1
    for _ in range(3):  # something is new that the list does not show
        agent.peers.change(A, "connected")
        await agent.until(calls=len(agent.script.calls) + 1)
    agent.peers.change(A, "offline")
    assert await process.stdout.readline() == b"null\n"
    agent.peers.change(A, "connected")
    assert len(json.loads(await process.stdout.readline())) == 1
    process.send_signal(2)
    assert await process.wait() == -2
    assert ("StopSyncRemoteMissions", A) in changes(agent)[-2:]
