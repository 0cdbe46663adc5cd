# SPDX-License-Identifier: Apache-2.0
"""Questions of polkit's that nobody answers keep nobody from what takes no password."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts.askers import Asker
from hosts.client import sleeper
from hosts.crowds import BIND, script
from hosts.machine import Host
from hosts.spawned import Spawned

AGENTS = 8
"""As many as polkit has questions of one person's at a time."""
STARTS = 100


@pytest.fixture
def host(host_tree: Path) -> Iterator[Host]:
    """A host with programs that call for its users."""
    with Host(host_tree, options=BIND) as booted:
        booted.wait_active()
        yield booted


def silent(host: Host, user: str, pid: int, questions: int) -> Spawned:
    return host.spawn(script("silent", str(pid), str(questions)), user=user)


def test_silent_agents(host: Host) -> None:
    """Alice's places are taken: her other calls are answered, and bob's, with a question or without."""
    roots = sleeper(host, user=None)
    alices = [silent(host, "alice", roots.pid, 1) for _ in range(AGENTS)]
    assert {agent.stdout.readline() for agent in alices} == {"asked\n"}
    alices.append(silent(host, "alice", roots.pid, 3))  # these wait for a place
    with contextlib.closing(Asker(host, "bob")) as bob, contextlib.closing(Asker(host, "alice")) as alice:
        assert bob.ask("RequestSuspendDelay", "sa{sv}", "x", {}).outcome == "ok"
        for number in range(STARTS):
            alice.send("StartBackgroundRunning", "asa{sv}", ["voip"], {"context": ["s", f"n{number}"]})
        assert {alice.answer().outcome for _ in range(STARTS)} == {"ok"}
        assert len(host.locks()) > STARTS
        bobs = silent(host, "bob", roots.pid, 1)
        assert bobs.stdout.readline() == "asked\n"
        for each in (bobs, *alices):
            each.close()
    host.wait_for(lambda: host.locks() == [])
    assert "Traceback" not in host.journal("missiond.service")
