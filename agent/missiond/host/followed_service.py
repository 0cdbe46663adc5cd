# SPDX-License-Identifier: Apache-2.0
"""Whether another service of this host can be reached."""

from __future__ import annotations

import logging
from collections.abc import Callable

from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.common.subscription import Subscription

_LOGGER = logging.getLogger(__name__)
_DBUS_ERROR = "org.freedesktop.DBus.Error."
_UNSERVED = frozenset(_DBUS_ERROR + name for name in ("UnknownObject", "UnknownInterface", "UnknownMethod"))
_MISSING = _UNSERVED | frozenset(
    _DBUS_ERROR + name
    for name in ("ServiceUnknown", "NameHasNoOwner", "NoServer", "Disconnected", "Timeout", "TimedOut")
)
_NO_REPLY = _DBUS_ERROR + "NoReply"

# Of the bus that starts services, and of the service manager that it has do so.
_START_FAILED = (_DBUS_ERROR + "Spawn.", "org.freedesktop.systemd1.")


def is_missing(error: RemoteError) -> bool:
    """Return whether the error means: nobody is there to answer, and nobody can be started.

    What a service says is about others (polkit: NameHasNoOwner, when the caller in question has left), unless
    it does not serve its own object yet.
    """
    if error.by_service:
        return error.name in _UNSERVED
    return error.name in _MISSING or error.name.startswith(_START_FAILED)


def start_failure(error: RemoteError) -> str:
    """Return why a service could not be started, in the words of the bus; empty for other errors."""
    if error.by_service or not error.name.startswith(_START_FAILED):
        return ""
    return error.text.rstrip(".")


def left_unanswered(error: RemoteError) -> bool:
    """Return whether the service left without an answer, by the word of the bus."""
    return error.name == _NO_REPLY and not error.by_service


class FollowedService:
    """Base of services of this host; follows the owner of the name, and whether a call starts one."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.name = name
        self._connection = connection
        self._owned = False
        self._activatable = False
        self._failed = False
        self.start_failure = ""
        """Why it could not be started for the last call; empty where it could, or nothing says why."""
        self._listeners: list[Callable[[bool], None]] = []
        self._watch: Subscription | None = None

    @property
    def available(self) -> bool:
        """Whether a call is worth trying: the service runs, or can be started and did not fail to."""
        return not self._failed and (self._owned or self._activatable)

    def on_available(self, callback: Callable[[bool], None]) -> None:
        """Call back with True each time the service appears, a restart included, and False when gone.

        A service that the bus can start is not gone until starting it has failed.
        """
        self._listeners.append(callback)

    async def start(self) -> None:
        """Begin to follow, without starting the service. Never raises for the service's sake."""
        self._watch = self._connection.watch_name(self.name, self._owner_changed)
        try:
            [names] = await self._connection.call_bus("ListActivatableNames")
            self._activatable = self.name in names
            # Asked last: whatever changed before this answer has been taken in.
            self._owned = await self._connection.name_owner(self.name) is not None
        except (RemoteError, CallTimeout) as error:
            _LOGGER.warning("the bus does not tell about %s: %s", self.name, error)

    def close(self) -> None:
        """Follow no longer."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def answered(self) -> None:
        """Take note of an answered call, be the answer good or bad."""
        self._update(owned=True, failed=False)

    def missed(self, start_failure: str = "") -> None:
        """Take note of an unanswered call."""
        self.start_failure = start_failure
        self._update(owned=self._owned, failed=True)

    def _owner_changed(self, _old: str, new: str) -> None:
        if new:
            self._owned, self._failed, self.start_failure = True, False, ""
            self._tell()
        else:
            self._update(owned=False, failed=self._failed)

    def _update(self, *, owned: bool, failed: bool) -> None:
        before = self.available
        self._owned, self._failed = owned, failed
        if self.available != before:
            self._tell()

    def _tell(self) -> None:
        available = self.available
        for listener in tuple(self._listeners):
            try:
                listener(available)
            except Exception:
                _LOGGER.exception("a change of %s was not dealt with", self.name)
