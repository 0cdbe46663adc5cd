# SPDX-License-Identifier: Apache-2.0
"""One session, and a test in the place of its peer."""

from __future__ import annotations

from typing import Any

from missiond.core.link.message_types import Accepted, Hello, Message
from missiond.core.sync.events import Reply
from missiond.core.sync.replica import Replica
from missiond.core.sync.session import Session
from missiond.core.sync.session_config import Local, Timing
from missiond.core.sync.versioned_list import VersionedList
from missiond.errors import AgentError
from standins.worlds.clock import FakeClock
from standins.worlds.sync_host import device

HERE = device("h")
THERE = device("t")
TIMING = Timing(
    batch=250, idle=30_000, unheard=60_000, coarse=10_000, greet=10_000, answer=15_000, reply=10_000
)


class Lone:
    """`said` is what the session sent since it was last taken, `told` what its program was told."""

    def __init__(
        self,
        *,
        newest: int = 1,
        theirs: int = 1,
        permitted: bool = True,
        view: Replica | None = None,
        up: bool = True,
    ) -> None:
        self.clock = FakeClock(1_000_000)
        self.published = VersionedList(77)
        self.said: list[Message] = []
        self.told: list[tuple[Any, ...]] = []
        self.replies: list[Reply] = []
        self.view = view if view is not None else Replica()
        self.session = Session(
            Local(HERE, "here", "1", "test", (1, newest)), self.published, self.clock, self.said.append, self,
            device=THERE, view=self.view, permitted=permitted, timing=TIMING,
        )  # fmt: skip
        self.version = min(newest, theirs)
        self.their_hello = Hello((1, theirs), THERE, "there", "1", "test")
        if up:
            self.start()
            self.take()
            self.told.clear()

    def start(self) -> None:
        self.session.start()
        self.hear(self.their_hello, Accepted(self.version))

    def hear(self, *messages: Message) -> None:
        for message in messages:
            self.session.received(message)

    def take(self) -> list[Message]:
        said, self.said[:] = list(self.said), []
        return said

    def advance(self, ms: int) -> None:
        """Let time pass with a timer that keeps its promises."""
        end = self.clock.now() + ms
        while (due := self.session.next_deadline()) is not None and due <= end:
            self.clock.advance(max(0, due - self.clock.now()))
            self.session.tick()
        self.clock.advance(end - self.clock.now())

    # What the program is told.

    def up(self, hello: Hello) -> None:
        self.told.append(("up", hello.name))

    def renamed(self, name: str) -> None:
        self.told.append(("renamed", name))

    def agent_back(self) -> None:
        self.told.append(("agent_back",))

    def list_changed(self) -> None:
        self.told.append(("list_changed",))

    def snapshot_changed(self, mission: int) -> None:
        self.told.append(("snapshot_changed", mission))

    def sync_refused(self, error: AgentError) -> None:
        self.told.append(("sync_refused", str(error)))

    def asked(self, what: str, mission: int, reply: Reply) -> None:
        self.told.append(("asked", what, mission))
        self.replies.append(reply)

    def snapshots_wanted(self, *, on: bool) -> None:
        self.told.append(("snapshots_wanted", on))

    def closed(self, reason: str, *, broken: bool) -> None:
        self.told.append(("closed", reason, broken))
