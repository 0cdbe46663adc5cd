# SPDX-License-Identifier: Apache-2.0
"""Somebody whose authentication agent never answers: silent PID QUESTIONS.

Registers an agent for itself with polkit, then asks so many times for a task of another user's process PID,
which takes a password. Prints a line when its agent is told to ask for one; ends with its input.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from hosts.crowd.wire_client import TASKS, Client, options
from missiond.bus.wire import message
from missiond.bus.wire.encode import Typed

AUTHORITY = (
    "org.freedesktop.PolicyKit1",
    "/org/freedesktop/PolicyKit1/Authority",
    "org.freedesktop.PolicyKit1.Authority",
)
INTERACTIVE = 0x4
"""ALLOW_INTERACTIVE_AUTHORIZATION."""


def main() -> None:
    """Ask, and let nobody be asked."""
    pid, questions = map(int, sys.argv[1:])
    client = Client(timeout=600)
    start_time = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    details = {
        "pid": Typed("u", os.getpid()),
        "start-time": Typed("t", start_time),
        "uid": Typed("i", os.getuid()),
    }
    subject = ("unix-process", details)
    done = client.call(AUTHORITY, "RegisterAuthenticationAgent", "(sa{sv})ss", (subject, "C", "/silent"))
    assert done.type == message.RETURN, done.body
    for _ in range(questions):
        body = ("silent", options(pid=pid))
        client.send(client.frame(TASKS, "RequestSuspendDelay", "sa{sv}", body, flags=INTERACTIVE))
    threading.Thread(target=_listen, args=(client,), daemon=True).start()
    sys.stdin.read()


def _listen(client: Client) -> None:
    while True:
        received = client.receive()
        if received.type == message.CALL:
            print("asked" if received.member == "BeginAuthentication" else received.member, flush=True)
        elif received.type != message.SIGNAL:
            print("answered", flush=True)


main()
