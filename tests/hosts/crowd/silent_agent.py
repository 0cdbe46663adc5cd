# SPDX-License-Identifier: Apache-2.0
"""A user whose polkit agent shows questions to nobody: silent_agent TASK COUNT ASKED.

Asks COUNT times for the end of somebody else's TASK, says so once ASKED of the questions have come, and waits
until the input ends.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hosts.crowd.wire_client import TASKS, Client
from missiond.bus.wire import message
from missiond.bus.wire.encode import Typed

POLKIT = ("org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority")
AUTHORITY = (*POLKIT, "org.freedesktop.PolicyKit1.Authority")
ALLOW_INTERACTION = 4
"""ALLOW_INTERACTIVE_AUTHORIZATION of the D-Bus specification."""


def main() -> None:
    """Register the agent, and ask."""
    task, count, asked = map(int, sys.argv[1:])
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    process = {
        "pid": Typed("u", os.getpid()),
        "start-time": Typed("t", started),
        "uid": Typed("i", os.getuid()),
    }
    client = Client(timeout=60)
    subject = ("unix-process", process)
    registered = client.call(
        AUTHORITY, "RegisterAuthenticationAgent", "(sa{sv})ss", (subject, "C", "/test/agent")
    )
    assert registered.type == message.RETURN, registered.body
    for _ in range(count):
        client.send(client.frame(TASKS, "CancelContinuousTask", "u", (task,), flags=ALLOW_INTERACTION))
    while asked:
        asked -= client.receive().member == "BeginAuthentication"
    print("asked", flush=True)
    sys.stdin.read()


main()
