# SPDX-License-Identifier: Apache-2.0
"""Messages and state of hand-overs between the agents of two real hosts, over a cable that is pulled out."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hosts.lan import Lan
from hosts.machine import Host
from hosts.test_peer_unit import PEERS, UNIT, call, device_id, wait_state

pytestmark = pytest.mark.timeout(240, func_only=True)

PROGRAM = Path(__file__).parent / "inside/carry.py"
PATIENCE = 60.0
SIZE = 50_000_000


class Agent:
    """A program in the place of a host's agent, with its user's rights."""

    def __init__(self, host: Host, what: str, device: str) -> None:
        host.run(["tee", "/tmp/carry.py"], stdin=PROGRAM.read_text())
        self._process = host.spawn(["python3", "/tmp/carry.py", what, device], user="missiond")
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.said: list[list[Any]] = []

    def _read(self) -> None:
        for line in self._process.stdout:
            self._lines.put(line)

    def until(self, *words: object) -> list[Any]:
        """Wait for a line that begins with these."""
        while True:
            try:
                said = json.loads(self._lines.get(timeout=PATIENCE))
            except queue.Empty:
                raise AssertionError(f"no {words} in {self.said[-20:]}") from None
            self.said.append(said)
            if said[: len(words)] == list(words):
                return list(said)

    def close(self) -> None:
        self._process.close()


@pytest.fixture(scope="module")
def linked(pair: tuple[Lan, Host, Host]) -> tuple[Lan, Host, Host]:
    """Trusting each other by their ids; the first may begin hand-overs with the second."""
    _, one, two = pair
    for host in (one, two):
        host.systemctl("enable", "--now", UNIT)
    call(one, "TrustDevice", "sa{sv}", device_id(two), "0")
    call(two, "TrustDevice", "sa{sv}", device_id(one), "1", "permissions", "as", "2", "sync", "continue")
    for here, there in ((one, two), (two, one)):
        wait_state(here, device_id(there), "connected")
    return pair


@pytest.fixture
def taking(linked: tuple[Lan, Host, Host]) -> Iterator[Agent]:
    """What is in the place of the second host's agent."""
    _, one, two = linked
    two.systemctl("stop", "missiond.service")
    agent = Agent(two, "take", device_id(one))
    agent.until("ready")
    yield agent
    agent.close()
    two.systemctl("start", "missiond.service")


def test_only_the_agent_and_root_may_send(linked: tuple[Lan, Host, Host]) -> None:
    _, one, two = linked
    for member, *arguments in (("ForgetHandover", "s", "1f" * 16), ("FollowHandovers", "a(ss)", "0")):
        refused = one.run(["busctl", "call", *PEERS, member, *arguments], user="alice", check=False)
        assert "Access denied" in refused.stderr
    host_over = ["HandOver", "ssssas", device_id(two), "1f" * 16, "offer", "{}", "0"]
    manager = ["org.missiond.Agent1", "/org/missiond/Agent1", "org.missiond.Agent1.Sharing"]
    refused = one.run(["busctl", "call", *manager, *host_over], user="alice", check=False)
    assert "Access denied" in refused.stderr
    unpermitted = two.run(
        ["busctl", "call", *PEERS, "SendHandover", "ssss", device_id(one), "2e" * 16, "offer", "{}"],
        check=False,
    )
    assert "201: this device may neither start programs there" in unpermitted.stderr


def test_a_message_and_a_state_go_across(linked: tuple[Lan, Host, Host], taking: Agent) -> None:
    _, one, two = linked
    sending = Agent(one, "send", device_id(two))
    has = sending.until("has")
    assert taking.until("letter")[1:] == ["offer", '{"mission": 7}', ["sync", "continue"]]
    assert taking.until("complete")[1] == has[1]
    seconds = sending.until("sent")[1]
    print(f"50 MB in {seconds:.2f} s, {50 / seconds:.0f} MB/s")
    sending.close()


def test_it_goes_on_when_the_cable_is_back(linked: tuple[Lan, Host, Host], taking: Agent) -> None:
    lan, one, two = linked
    lan.slow(two.name, "100mbit")
    try:
        sending = Agent(one, "send", device_id(two))
        has = sending.until("has")
        reached = 0
        while reached < SIZE // 4:
            reached = taking.until("progress")[1]
        lan.cable(two.name, plugged=False)
        sending.until("again")
        lan.cable(two.name, plugged=True)
        assert sending.until("progress")[1] >= SIZE // 4
        assert taking.until("complete")[1] == has[1]
        sending.until("sent")
        sending.close()
    finally:
        lan.slow(two.name, None)
    for host in (one, two):
        assert "Traceback" not in host.journal(UNIT)
