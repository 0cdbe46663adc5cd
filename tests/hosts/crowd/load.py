# SPDX-License-Identifier: Apache-2.0
"""An honest user at work: load.

Requests, starts and ends tasks all the time, whatever the agent says, and comes back when it is gone.  For
each line of input it prints, as JSON, how many calls ended how since the last, ids that were given twice (the
whole time), and the longest time without an answer (ms).
"""

from __future__ import annotations

import json
import select
import sys
import time
from collections import Counter
from typing import Any

from hosts.crowd.wire_client import TASKS, Client, options, outcome
from missiond.bus.wire import message


class Load:
    """One user."""

    def __init__(self) -> None:
        self.client: Client | None = None
        self.outcomes: Counter[str] = Counter()
        self.ids: dict[str, set[int]] = {"request": set(), "task": set()}
        self.twice: list[int] = []
        self.longest = 0.0
        self.context = 0

    def call(self, member: str, signature: str, *body: Any) -> list[Any]:
        """Call; no results where that failed."""
        begun = time.monotonic()
        try:
            if self.client is None:
                self.client = Client(timeout=30)
            answer = self.client.call(TASKS, member, signature, body)
        except (OSError, EOFError) as error:
            self.leave()
            self.outcomes[type(error).__name__] += 1
            time.sleep(0.02)
            return []
        finally:
            self.longest = max(self.longest, time.monotonic() - begun)
        said = outcome(answer)
        self.outcomes[said] += 1
        if said == "NoReply":
            self.leave()  # whatever was granted and not told ends with the connection
        return list(answer.body) if answer.type == message.RETURN else []

    def leave(self) -> None:
        """End the connection; the next call makes another."""
        if self.client is not None:
            self.client.close()
        self.client = None

    def note(self, kind: str, number: int) -> None:
        """An id was given."""
        if number in self.ids[kind]:
            self.twice.append(number)
        self.ids[kind].add(number)

    def round(self) -> None:
        """One request and one task, each ended again."""
        if granted := self.call("RequestSuspendDelay", "sa{sv}", "load", {}):
            self.note("request", granted[0])
            self.call("CancelSuspendDelay", "u", granted[0])
        self.context += 1
        chosen = options(context=str(self.context))
        if begun := self.call("StartBackgroundRunning", "asa{sv}", ["taskKeeping"], chosen):
            self.note("task", begun[3])
            self.call("StopBackgroundRunning", "a{sv}", chosen)

    def report(self) -> str:
        """What happened since the last."""
        found = {"outcomes": self.outcomes, "twice": self.twice, "longest": self.longest * 1000}
        self.outcomes, self.longest = Counter(), 0.0
        return json.dumps(found)


def main() -> None:
    """Work until the input ends."""
    load = Load()
    while True:
        load.round()
        ready, _, _ = select.select([sys.stdin], [], [], 0.005)
        if ready:
            if not sys.stdin.readline():
                return
            print(load.report(), flush=True)


main()
