# SPDX-License-Identifier: Apache-2.0
"""Announced devices: one browser, and one resolver for each announcement."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from typing import NamedTuple

from missiond.bus.connection import RemoteError
from missiond.common.log_limiter import LogLimiter
from missiond.common.subscription import Subscription
from missiond.host.avahi import records
from missiond.host.avahi.bus import ANY, BROWSER, RESOLVER, SERVICE_TYPE, AvahiBus
from missiond.host.avahi.records import Found, Lost

MOST = 512
"""Announcements under resolution at one time; Avahi allows 1024 objects to one client."""
WAITING = 4096
"""Further announcements remembered, for resolution once there is room."""

_OUR_OWN = 16
"""AVAHI_LOOKUP_RESULT_OUR_OWN."""
_throttle = LogLimiter(logging.getLogger(__name__))


class Key(NamedTuple):
    """An announcement: a device has one for each interface and protocol."""

    interface: int
    protocol: int
    name: str
    domain: str

    @property
    def source(self) -> str:
        """The source of a device, for `Found` and `Lost`."""
        return "/".join(map(str, self))


class _Item:
    """One announcement; `path` is its resolver's."""

    __slots__ = ("failing", "path", "told")

    def __init__(self) -> None:
        self.path: str | None = None
        self.failing: Subscription | None = None
        self.told: tuple[str, str, int] | None = None
        """Device id, address and port, where somebody was told of it."""


class Browser:
    """Finds devices during one run of the daemon, within `run`."""

    def __init__(self, avahi: AvahiBus, own_id: str, found: Found, lost: Lost) -> None:
        self._avahi = avahi
        self._own_id = own_id
        self._on_found, self._on_lost = found, lost
        self._path: str | None = None
        self._listening: list[Subscription] = []
        self._items: dict[Key, _Item] = {}
        self._waiting: dict[Key, None] = {}
        self._to_resolve: deque[Key] = deque()
        self._more = asyncio.Event()
        self._failure: str | None = None

    async def run(self) -> None:
        """Browse and resolve until cancelled; raises RemoteError and CallTimeout when Avahi fails."""
        body = (ANY, ANY, SERVICE_TYPE, "", 0)
        [path] = await self._avahi.server("ServiceBrowserPrepare", "iissu", body)
        self._path = path
        self._listening = [
            # Prepared or not, a resolver tells what is in the cache before its path is known here.
            self._avahi.hear(None, RESOLVER, "Found", self._found),
            self._avahi.hear(path, BROWSER, "ItemNew", self._appeared),
            self._avahi.hear(path, BROWSER, "ItemRemove", self._disappeared),
            self._avahi.hear(path, BROWSER, "Failure", self._failed),
        ]
        await self._avahi.call(path, BROWSER, "Start")
        while True:
            await self._more.wait()
            self._more.clear()
            if self._failure is not None:
                raise RemoteError(self._failure)
            # One at a time: a flood of announcements must not use up the calls that the bus allows us.
            while self._to_resolve:
                await self._resolve(self._to_resolve.popleft())

    def close(self) -> None:
        """Take all found devices back, and give the objects back to Avahi."""
        if self._path is not None:
            self._avahi.free(self._path, BROWSER)
            self._path = None
        for subscription in self._listening:
            subscription.close()
        self._listening.clear()
        for key in list(self._items):
            self._drop(key)

    # --- the browser

    def _appeared(
        self, interface: int, protocol: int, name: str, _type: str, domain: str, _flags: int
    ) -> None:
        # AVAHI_LOOKUP_RESULT_OUR_OWN is not looked at: after a collision the name that was ours is another's,
        # and there is no second ItemNew. What we said of ourselves is known by its id.
        key = Key(interface, protocol, name, domain)
        if key in self._items:
            return
        if len(self._items) < MOST:
            self._add(key)
        elif len(self._waiting) < WAITING:
            _throttle.warning("more than %d announcements of devices: some have to wait", MOST)
            self._waiting[key] = None

    def _disappeared(
        self, interface: int, protocol: int, name: str, _type: str, domain: str, _flags: int
    ) -> None:
        key = Key(interface, protocol, name, domain)
        self._waiting.pop(key, None)
        self._drop(key)
        if self._waiting and len(self._items) < MOST:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            self._add(oldest)

    def _failed(self, error: str) -> None:
        self._failure = error
        self._more.set()

    def _add(self, key: Key) -> None:
        self._items[key] = _Item()
        self._to_resolve.append(key)
        self._more.set()

    def _drop(self, key: Key) -> None:
        item = self._items.pop(key, None)
        if item is None:
            return
        if item.failing is not None:
            item.failing.close()
        if item.path is not None:
            self._avahi.free(item.path, RESOLVER)
        self._tell(key, item, None)

    # --- the resolvers

    async def _resolve(self, key: Key) -> None:
        """Its resolver stays, and tells of every change, until the announcement is gone."""
        item = self._items.get(key)
        if item is None:
            return
        body = (key.interface, key.protocol, key.name, SERVICE_TYPE, key.domain, key.protocol, 0)
        try:
            [path] = await self._avahi.server("ServiceResolverPrepare", "iisssiu", body)
            if self._items.get(key) is not item:
                self._avahi.free(path, RESOLVER)
                return
            item.path = path
            item.failing = self._avahi.hear(
                path, RESOLVER, "Failure", lambda _error: self._tell(key, item, None)
            )
            await self._avahi.call(path, RESOLVER, "Start")
        except RemoteError as error:
            # a name that is not well-formed, or one that is gone already
            _throttle.warning("an announcement cannot be resolved: %s", error.name)

    def _found(
        self,
        interface: int,
        protocol: int,
        name: str,
        _type: str,
        domain: str,
        _host: str,
        _address_protocol: int,
        address: str,
        port: int,
        txt: list[bytes],
        flags: int,
    ) -> None:
        key = Key(interface, protocol, name, domain)
        item = self._items.get(key)
        if item is None:
            return
        device = records.device_id(txt)
        reachable = records.address(address, interface, protocol)
        if device is None or reachable is None or not port:
            self._tell(key, item, None)
        elif device == self._own_id:
            self._tell(key, item, None)
            # without that flag, too, right after a change of the host's name
            if not flags & _OUR_OWN and not _is_own(reachable):
                self._on_found(device, key.source, (reachable,), port, "")
        else:
            self._tell(key, item, (device, reachable, port))

    def _tell(self, key: Key, item: _Item, now: tuple[str, str, int] | None) -> None:
        before, item.told = item.told, now
        if before is not None and (now is None or now[0] != before[0]):
            self._on_lost(before[0], key.source)
        if now is not None and now != before:
            self._on_found(now[0], key.source, (now[1],), now[2], key.name)


def _is_own(address: str) -> bool:
    """Whether an address is one of this host's: no other can be bound to (bind(2))."""
    try:
        family, kind, _, _, place = socket.getaddrinfo(
            address, 0, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )[0]
        with socket.socket(family, kind) as bound:
            bound.bind(place)
    except OSError:
        return False
    return True
