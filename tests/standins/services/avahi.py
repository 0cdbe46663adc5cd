# SPDX-License-Identifier: Apache-2.0
"""The Avahi daemon of a host, and the network as it sees it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import ClassVar

from missiond.bus.wire.message import Incoming
from missiond.host.avahi.bus import (
    BROWSER,
    COLLISION_ERROR,
    GROUP,
    GROUP_COLLISION,
    GROUP_ESTABLISHED,
    GROUP_FAILURE,
    NAME,
    RESOLVER,
    SERVER,
    SERVER2,
    SERVER_RUNNING,
    SERVICE_TYPE,
)
from standins.services.neighbour import Neighbour

IPV4, IPV6 = 0, 1


@dataclass(frozen=True)
class Seen:
    """An announcement that reaches this host."""

    name: str
    txt: tuple[bytes, ...]
    address: str = "192.0.2.1"
    port: int = 8637
    interface: int = 2
    protocol: int = IPV4
    flags: int = 0

    @property
    def head(self) -> tuple[int, int, str, str, str]:
        """Interface, protocol, name, type and domain."""
        return self.interface, self.protocol, self.name, SERVICE_TYPE, "local"


@dataclass
class Group:
    """An entry group of a client."""

    owner: str
    entries: list[tuple[str, int, list[bytes]]] = field(default_factory=list)
    """Name, port and TXT of what was added."""
    committed: bool = False


class AvahiStandIn(Neighbour):
    """Tells what is `announce`d, and keeps what clients publish."""

    name = NAME
    interface = SERVER2
    methods: ClassVar[dict[str, str]] = {
        "get_state": "GetState",
        "browse": "ServiceBrowserPrepare",
        "resolve": "ServiceResolverPrepare",
        "start": "Start",
        "free": "Free",
        "group": "EntryGroupNew",
        "alternative": "GetAlternativeServiceName",
        "reset": "Reset",
        "add": "AddService",
        "commit": "Commit",
    }

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.state = SERVER_RUNNING
        self.eager = True
        """Whether resolvers tell what is known as soon as they are prepared, as those of Avahi 0.8 do."""
        self.seen: list[Seen] = []
        self.taken: set[str] = set()
        """Names for which AddService is refused."""
        self.groups: dict[str, Group] = {}
        self.resolvers: dict[str, tuple[str, tuple[object, ...]]] = {}
        self.browsers: dict[str, str] = {}
        self._started: set[str] = set()
        self._numbers = itertools.count(1)

    def serves(self, interface: str) -> bool:
        return interface in (SERVER2, BROWSER, RESOLVER, GROUP)

    async def vanish(self) -> None:
        """All objects die with the daemon."""
        await super().vanish()
        for objects in (self.groups, self.resolvers, self.browsers, self._started):
            objects.clear()

    # --- what a test does

    @property
    def published(self) -> list[tuple[str, int, list[bytes]]]:
        """All that others can see of this host."""
        return [entry for group in self.groups.values() if group.committed for entry in group.entries]

    def set_state(self, state: int) -> None:
        """Change the state of the server; entries are not there unless it runs."""
        self.state = state
        self.connection.emit("/", SERVER, "StateChanged", "is", (state, ""))

    def announce(self, seen: Seen) -> None:
        """Let an announcement reach this host, or change one."""
        before = next((each for each in self.seen if each.head == seen.head), None)
        if before is not None:
            self.seen[self.seen.index(before)] = seen
            for path, (_, head) in self.resolvers.items():
                if head == seen.head and (self.eager or path in self._started):
                    self._found(path, seen)
            return
        self.seen.append(seen)
        for path in self.browsers:
            if path in self._started:
                self._item(path, "ItemNew", seen)

    def withdraw(self, seen: Seen) -> None:
        """Let an announcement be gone."""
        self.seen.remove(seen)
        for path in self.browsers:
            self._item(path, "ItemRemove", seen)

    def collide(self) -> None:
        """Let others have had the name of all that is published."""
        for path, group in self.groups.items():
            group.committed = False
            self._group_state(path, GROUP_COLLISION, COLLISION_ERROR)

    def break_groups(self) -> None:
        """Let publishing fail."""
        for path in self.groups:
            self._group_state(path, GROUP_FAILURE, "org.freedesktop.Avahi.OSError")

    def break_browsers(self) -> None:
        """Let browsing fail."""
        for path, owner in self.browsers.items():
            self.connection.emit(path, BROWSER, "Failure", "s", ("broken",), destination=owner)

    # --- what it answers

    async def get_state(self, call: Incoming) -> None:
        self.connection.reply(call, "i", (self.state,))

    async def browse(self, call: Incoming, *_what: object) -> None:
        path = self._path(call, "ServiceBrowser")
        self.browsers[path] = call.sender or ""
        self.connection.reply(call, "o", (path,))

    async def resolve(
        self, call: Incoming, interface: int, protocol: int, name: str, kind: str, domain: str, *_: object
    ) -> None:
        path = self._path(call, "ServiceResolver")
        self.resolvers[path] = (call.sender or "", (interface, protocol, name, kind, domain))
        self.connection.reply(call, "o", (path,))
        if self.eager:
            self._resolved(path)

    async def start(self, call: Incoming) -> None:
        """As the real one, it may tell before it answers."""
        path = call.path or ""
        self._started.add(path)
        if path in self.browsers:
            for seen in self.seen:
                self._item(path, "ItemNew", seen)
        elif not self.eager:
            self._resolved(path)
        self.connection.reply(call)

    async def free(self, call: Incoming) -> None:
        path = call.path or ""
        for objects in (self.groups, self.resolvers, self.browsers):
            objects.pop(path, None)
        self.connection.reply(call)

    async def group(self, call: Incoming) -> None:
        path = self._path(call, "EntryGroup")
        self.groups[path] = Group(call.sender or "")
        self.connection.reply(call, "o", (path,))

    async def alternative(self, call: Incoming, name: str) -> None:
        stem, _, number = name.partition(" #")
        self.connection.reply(call, "s", (f"{stem} #{int(number or 1) + 1}",))

    async def reset(self, call: Incoming) -> None:
        group = self.groups[call.path or ""]
        group.entries.clear()
        group.committed = False
        self.connection.reply(call)

    async def add(
        self,
        call: Incoming,
        _interface: int,
        _protocol: int,
        _flags: int,
        name: str,
        _kind: str,
        _domain: str,
        _host: str,
        port: int,
        txt: list[bytes],
    ) -> None:
        if name in self.taken:
            self.connection.reply_error(call, COLLISION_ERROR, "Local name collision")
            return
        self.groups[call.path or ""].entries.append((name, port, [bytes(item) for item in txt]))
        self.connection.reply(call)

    async def commit(self, call: Incoming) -> None:
        path = call.path or ""
        self.groups[path].committed = True
        self.connection.reply(call)
        self._group_state(path, GROUP_ESTABLISHED, "")

    # --- signals, which go to whoever made the object

    def _path(self, call: Incoming, kind: str) -> str:
        return f"/Client{(call.sender or '')[1:].replace('.', '_')}/{kind}{next(self._numbers)}"

    def _item(self, path: str, member: str, seen: Seen) -> None:
        body = (*seen.head, seen.flags)
        self.connection.emit(path, BROWSER, member, "iisssu", body, destination=self.browsers[path])

    def _resolved(self, path: str) -> None:
        for seen in self.seen:
            if seen.head == self.resolvers[path][1]:
                self._found(path, seen)

    def _found(self, path: str, seen: Seen) -> None:
        body = (*seen.head, "host.local", seen.protocol, seen.address, seen.port, list(seen.txt), seen.flags)
        self.connection.emit(
            path, RESOLVER, "Found", "iissssisqaayu", body, destination=self.resolvers[path][0]
        )

    def _group_state(self, path: str, state: int, error: str) -> None:
        owner = self.groups[path].owner
        self.connection.emit(path, GROUP, "StateChanged", "is", (state, error), destination=owner)


@asynccontextmanager
async def running_avahi(address: str) -> AsyncIterator[AvahiStandIn]:
    """Run it for as long as the block lasts."""
    avahi = AvahiStandIn(address)
    await avahi.appear()
    try:
        yield avahi
    finally:
        await avahi.vanish()
