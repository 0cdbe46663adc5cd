# SPDX-License-Identifier: Apache-2.0
"""Avahi: announces this device on the networks it is in, and finds others (DNS-SD over mDNS).

Everything is made anew when the daemon comes back: its objects die with it, and it tells nobody. While there
is none, devices are reached by their known addresses.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.common.subscription import Subscription
from missiond.host.avahi.browser import Browser
from missiond.host.avahi.bus import NAME, SERVER_RUNNING, AvahiBus
from missiond.host.avahi.publisher import Publisher
from missiond.host.avahi.records import Announcement, DiscoveryEvents

__all__ = ["NO_AVAHI", "Announcement", "Avahi", "DiscoveryEvents"]

_LOGGER = logging.getLogger(__name__)
NO_AVAHI = "no Avahi: other hosts are reached by their known addresses only"
_FAILS = "Avahi fails ({}): other hosts are reached by their known addresses only"
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 300.0


class Avahi:
    """The host's Avahi, whether it is there or not.

    `connection` must not own a name whose bus policy keeps Avahi's signals away. `on_state` gets a sentence
    that says what is missing and what that costs, or None when all is well.
    """

    def __init__(
        self,
        connection: Connection,
        own_id: str,
        events: DiscoveryEvents,
        on_state: Callable[[str | None], None],
    ) -> None:
        self._connection = connection
        self._own_id = own_id
        self._events = events
        self._on_state = on_state
        self._announcement: Announcement | None = None
        self._watch: Subscription | None = None
        self._session: _Session | None = None
        self._owner: str | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._pause = FIRST_PAUSE

    async def start(self, announcement: Announcement | None) -> None:
        """Browse, and announce this device unless that is None. Never raises for Avahi's sake."""
        self._announcement = announcement
        self._watch = self._connection.watch_name(NAME, lambda _, new: self._owned_by(new or None))
        try:
            owner = await self._connection.name_owner(NAME)
        except (RemoteError, CallTimeout) as error:
            _LOGGER.warning("the bus does not tell about %s: %s", NAME, error)
            owner = None
        if self._session is None:
            self._owned_by(owner)

    def announce(self, announcement: Announcement | None) -> None:
        """Say something else of this host from now on, or nothing."""
        self._announcement = announcement
        if self._session is not None:
            self._session.publisher.announce(announcement)

    def close(self) -> None:
        """Stop: every device that was found is lost."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        self._end()

    def _owned_by(self, owner: str | None) -> None:
        self._end()
        self._owner = owner
        self._pause = FIRST_PAUSE
        if owner is None:
            self._on_state(NO_AVAHI)
        else:
            self._begin()

    def _begin(self) -> None:
        self._retry = None
        if self._owner is not None:
            self._session = _Session(self._connection, self._owner, self)

    def _end(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        session, self._session = self._session, None
        if session is not None:
            session.close()

    # --- what a session tells

    @property
    def wanted(self) -> Announcement | None:
        """What is to be said of this host."""
        return self._announcement

    def browser(self, avahi: AvahiBus) -> Browser:
        """Make what finds others."""
        return Browser(avahi, self._own_id, self._events)

    def state(self, sentence: str | None) -> None:
        """All is well, or something is not."""
        if sentence is None:
            self._pause = FIRST_PAUSE
        self._on_state(sentence)

    def failed(self, error: Exception) -> None:
        """Avahi is there but does not work: try again after a while, longer each time."""
        self._end()
        self._on_state(_FAILS.format(error))
        self._retry = asyncio.get_running_loop().call_later(self._pause, self._begin)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)


class _Session:
    """One run of the daemon, or one attempt at it."""

    def __init__(self, connection: Connection, owner: str, parent: Avahi) -> None:
        self._parent = parent
        self._avahi = AvahiBus(connection, owner)
        self._browser = parent.browser(self._avahi)
        self.publisher = Publisher(self._avahi, parent.wanted, parent.state)
        self._state: Subscription | None = None
        self._told = False
        """Whether the server has said its state by itself."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(self._done)

    def close(self) -> None:
        """End it."""
        self._task.cancel()
        if self._state is not None:
            self._state.close()
            self._state = None
        self.publisher.close()
        self._browser.close()

    async def _run(self) -> None:
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

    def _done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, RemoteError | CallTimeout):
            self._parent.failed(error)
        elif error is not None:
            _LOGGER.error("following Avahi failed", exc_info=error)
            self._parent.failed(RuntimeError("see the journal"))
