# SPDX-License-Identifier: Apache-2.0
"""Avahi: the announcement of this device on the networks around, and others' (DNS-SD over mDNS).

Everything is made anew when the daemon comes back: its objects die with it, and it tells nobody. While there
is none, devices are reached by their known addresses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.bus.service_follower import ServiceFollower
from missiond.common.subscription import Subscription
from missiond.host.avahi.browser import Browser
from missiond.host.avahi.bus import NAME, SERVER2, SERVER_RUNNING, AvahiBus
from missiond.host.avahi.publisher import Publisher
from missiond.host.avahi.records import Announcement, Found, Lost

NO_AVAHI = "no Avahi: other hosts are reached by their known addresses only"
_FAILS = "Avahi fails ({}): other hosts are reached by their known addresses only"
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 300.0


class Avahi:
    """Follows the host's Avahi, and tells of devices on the network through `found` and `lost`.

    `connection` must not own a name whose bus policy keeps Avahi's signals away. `on_state` gets a sentence
    about what is missing and what that costs, None when all is well.
    """

    def __init__(
        self,
        connection: Connection,
        own_id: str,
        found: Found,
        lost: Lost,
        on_state: Callable[[str | None], None],
    ) -> None:
        self._connection = connection
        self._own_id = own_id
        self._found, self._lost = found, lost
        self._on_state = on_state
        self._announcement: Announcement | None = None
        self._session: _Session | None = None
        self._follower = ServiceFollower(
            connection, NAME, "/", SERVER2, self, {}, (FIRST_PAUSE, LONGEST_PAUSE)
        )

    async def start(self, announcement: Announcement | None) -> None:
        """Browse, and announce this device unless `announcement` is None; never raises for Avahi's sake."""
        self._announcement = announcement
        await self._follower.start()
        if not self._follower.owner:
            self.left(was_ready=False, owner="")

    def announce(self, announcement: Announcement | None) -> None:
        """Replace the announcement of this host, None for no announcement."""
        self._announcement = announcement
        if self._session is not None:
            self._session.publisher.announce(announcement)

    def close(self) -> None:
        """Stop, with all devices lost."""
        self._follower.close()
        self._end()

    def _end(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    # --- the ServiceReader

    async def read(self) -> None:
        """Browse and announce until Avahi fails or leaves."""
        avahi = AvahiBus(self._connection, self._follower.owner)
        browser = Browser(avahi, self._own_id, self._found, self._lost)
        publisher = Publisher(avahi, self._announcement, self._state)
        self._session = _Session(avahi, browser, publisher)
        await self._session.run()

    def told(self) -> None:
        """Do nothing: `read` does not return."""

    def failed(self, error: Exception) -> None:
        """Take all devices for lost, and tell people about the failure."""
        self._end()
        known = isinstance(error, RemoteError | CallTimeout)
        self._on_state(_FAILS.format(error if known else "see the journal"))

    def left(self, *, was_ready: bool, owner: str) -> None:
        """Take all devices for lost."""
        self._end()
        if not owner:
            self._on_state(NO_AVAHI)

    def _state(self, sentence: str | None) -> None:
        if sentence is None:
            self._follower.pauses.reset()
        self._on_state(sentence)


class _Session:
    """One run of the daemon, or one attempt at it."""

    def __init__(self, avahi: AvahiBus, browser: Browser, publisher: Publisher) -> None:
        self._avahi = avahi
        self._browser = browser
        self.publisher = publisher
        self._state: Subscription | None = None
        self._told = False
        """Whether the server has said its state by itself."""

    def close(self) -> None:
        """Give all back to the daemon."""
        if self._state is not None:
            self._state.close()
            self._state = None
        self.publisher.close()
        self._browser.close()

    async def run(self) -> None:
        """Browse and publish; raises RemoteError and CallTimeout when Avahi fails."""
        self._state = await self._avahi.follow_state(self._server_state)
        [state] = await self._avahi.server("GetState")
        if not self._told:  # a signal that came behind the answer is dealt with before it
            self._server_state(state, "")
        parts = [asyncio.ensure_future(self._browser.run()), asyncio.ensure_future(self.publisher.run())]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    def _server_state(self, state: int, _error: str) -> None:
        self._told = True
        self.publisher.server_state(running=state == SERVER_RUNNING)
