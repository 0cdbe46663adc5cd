# SPDX-License-Identifier: Apache-2.0
"""The announcement of this device: one entry group ("good publish" in avahi's guide).

Entries are there only while the server runs. After a collision the same group gets another name, which keeps
to the rate limits of RFC 6762; a new group would not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from missiond.bus.connection import RemoteError
from missiond.common.subscription import Subscription
from missiond.host.avahi.bus import (
    ANY,
    COLLISION_ERROR,
    GROUP,
    GROUP_COLLISION,
    GROUP_ESTABLISHED,
    GROUP_FAILURE,
    NOT_PERMITTED,
    SERVICE_TYPE,
    AvahiBus,
)
from missiond.host.avahi.records import Announcement

_LOGGER = logging.getLogger(__name__)
_NAMES = 16
"""Names that are tried at once; of so many taken ones somebody plays with us."""

_FORBIDDEN = (
    "Avahi lets nobody announce services (disable-user-service-publishing=): others do not find this host"
)
_FAILED = "Avahi does not announce this host ({}): others do not find it"


class Publisher:
    """Announces during one run of the daemon, within `run`. `on_problem` gets a sentence, or None."""

    def __init__(
        self, avahi: AvahiBus, announcement: Announcement | None, on_problem: Callable[[str | None], None]
    ) -> None:
        self._avahi = avahi
        self._announcement = announcement
        self._on_problem = on_problem
        self._server_running = False
        self._group: str | None = None
        self._listening: Subscription | None = None
        self._name = ""
        self._collided = False
        self._failure: str | None = None
        self._more = asyncio.Event()
        self._more.set()

    def announce(self, announcement: Announcement | None) -> None:
        """Say something else of this host, or nothing."""
        if announcement != self._announcement:
            self._announcement = announcement
            self._name = ""
            self._collided = False
            self._more.set()

    def server_state(self, *, running: bool) -> None:
        """Note whether the server runs, or still looks for a name of the host."""
        if running != self._server_running:
            self._server_running = running
            self._more.set()

    async def run(self) -> None:
        """Keep the announcement up to date; raises RemoteError and CallTimeout when Avahi fails."""
        while True:
            await self._more.wait()
            self._more.clear()
            if self._failure is not None:
                raise RemoteError(self._failure)
            if self._group is not None:
                await self._avahi.call(self._group, GROUP, "Reset")
            if self._server_running and self._announcement is not None:
                await self._publish(self._announcement)
            elif self._announcement is None:
                self._on_problem(None)

    def close(self) -> None:
        """Give the entries back, unless the daemon is gone."""
        if self._group is not None:
            self._avahi.free(self._group, GROUP)
            self._group = None
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    async def _publish(self, announcement: Announcement) -> None:
        if self._group is None:
            [self._group] = await self._avahi.server("EntryGroupNew")
            self._listening = self._avahi.hear(self._group, GROUP, "StateChanged", self._group_state)
        self._name = self._name or announcement.label
        if self._collided:
            self._collided = False
            await self._rename()
        for _ in range(_NAMES):
            try:
                await self._add(self._group, announcement)
            except RemoteError as error:
                if error.name == COLLISION_ERROR:
                    await self._rename()
                    continue
                if error.name != NOT_PERMITTED:
                    raise
                self._on_problem(_FORBIDDEN)
            return
        self._on_problem(_FAILED.format("all names are taken"))

    async def _add(self, group: str, announcement: Announcement) -> None:
        body = (ANY, ANY, 0, self._name, SERVICE_TYPE, "", "", announcement.port, announcement.txt)
        await self._avahi.call(group, GROUP, "AddService", "iiussssqaay", body)
        await self._avahi.call(group, GROUP, "Commit")

    async def _rename(self) -> None:
        before = self._name
        [self._name] = await self._avahi.server("GetAlternativeServiceName", "s", (before,))
        _LOGGER.info(
            "somebody else on the network is called %r; this host is announced as %r", before, self._name
        )

    def _group_state(self, state: int, error: str) -> None:
        if state == GROUP_COLLISION:
            self._collided = True
            self._more.set()
        elif state == GROUP_FAILURE:
            self._failure = error
            self._more.set()
        elif state == GROUP_ESTABLISHED:
            _LOGGER.debug("announced as %r", self._name)
            self._on_problem(None)
