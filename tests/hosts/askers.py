# SPDX-License-Identifier: Apache-2.0
"""Real users of a host who make calls, each by a process of their own."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from hosts.crowds import script
from hosts.machine import MANAGER, TASKS, Host


class Answer(NamedTuple):
    """What came back: "ok", our code, or the last word of another error; and the results."""

    outcome: str
    results: list[Any]


class Asker:
    """One user with one connection."""

    def __init__(self, host: Host, user: str | None) -> None:
        self._process = host.spawn(script("asker"), user=user)

    @property
    def pid(self) -> int:
        """Of the process that asks."""
        return self._process.pid

    def send(
        self, member: str, signature: str = "", *body: Any, interface: str = TASKS, path: str = MANAGER[1]
    ) -> None:
        """Make a call, and wait for nothing."""
        self._process.stdin.write(json.dumps([interface, path, member, signature, body]) + "\n")

    def answer(self) -> Answer:
        """Wait for its answer."""
        outcome, results = json.loads(self._process.stdout.readline())
        return Answer(outcome.rpartition(" ")[2] or "ok", results)

    def ask(self, member: str, signature: str = "", *body: Any, **where: str) -> Answer:
        """Make a call."""
        self.send(member, signature, *body, **where)
        return self.answer()

    def close(self) -> None:
        """Leave."""
        self._process.close()
