# SPDX-License-Identifier: Apache-2.0
"""logind: inhibitor locks, and word of sleep (org.freedesktop.login1(5), systemd's "Inhibitor Locks")."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.common.subscription import Subscription
from missiond.host.followed_service import FollowedService, is_missing, left_unanswered, start_failure

_LOGGER = logging.getLogger(__name__)
_NAME = "org.freedesktop.login1"
_PATH = "/org/freedesktop/login1"
_MANAGER = "org.freedesktop.login1.Manager"
_IN_PROGRESS = "org.freedesktop.login1.OperationInProgress"
_POLKIT_IS_SILENT = {f"org.freedesktop.DBus.Error.{name}" for name in ("NoReply", "Timeout", "TimedOut")}
"""What logind says then: it passes on how its own call ended."""

PATIENCE = 25.0
"""Seconds for logind's list of locks."""


class LogindError(Exception):
    """A failure of logind; `str()` is the reason, for people."""


class LogindMissing(LogindError):
    """No logind, or no answer."""


class OperationInProgress(LogindError):
    """The host goes to sleep right now; a lock can be had after PrepareForSleep says "over"."""


class LockRefused(LogindError):
    """logind will not give this lock to this service: polkit says no, or there are too many."""


class LockUndecided(LockRefused):
    """No answer from polkit to logind in time; the next attempt may have one."""


@dataclass(frozen=True, slots=True)
class Inhibitor:
    """One lock as shown by ListInhibitors; `what` is joined with ":", uid and pid are the taker's."""

    what: str
    who: str
    why: str
    mode: str
    uid: int
    pid: int


class Logind(FollowedService):
    """The host's logind, through a connection for messages with file descriptors."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, _NAME)
        self._sleep_listeners: list[Callable[[bool], None]] = []
        self._sleep_signal: Subscription | None = None

    def on_sleep(self, callback: Callable[[bool], None]) -> None:
        """Call back with True when the host is about to sleep, with False when awake again."""
        self._sleep_listeners.append(callback)

    async def start(self) -> None:
        """Begin to follow logind. Never raises for logind's sake."""
        try:
            self._sleep_signal = await self._connection.add_signal(
                sender=_NAME,
                interface=_MANAGER,
                member="PrepareForSleep",
                path=_PATH,
                callback=self._sleeping,
            )
        except (RemoteError, CallTimeout) as error:
            _LOGGER.warning("sleep will not be noticed: %s", error)
        await super().start()

    def close(self) -> None:
        """Follow logind no longer."""
        super().close()
        if self._sleep_signal is not None:
            self._sleep_signal.close()
            self._sleep_signal = None

    async def inhibit(self, what: str, who: str, why: str, mode: str = "block") -> int:
        """Take a lock and return the fd of the lock, not inherited by children, the caller's to close.

        `what` is joined with ":", for example "sleep:idle". Waits for as long as logind takes: an answer
        that is given up would be a lock that nobody knows of. Raises LogindMissing, OperationInProgress,
        LockRefused and LockUndecided.
        """
        body, fds = await self._call("Inhibit", "ssss", (what, who, why, mode), timeout=None)
        if len(fds) != 1 or body != [0]:
            for fd in fds:
                os.close(fd)
            raise LockRefused("its answer held no lock")
        os.set_inheritable(fds[0], False)
        return fds[0]

    async def inhibitors(self) -> list[Inhibitor]:
        """All locks of the host. Raises LogindMissing and LockRefused."""
        body, fds = await self._call("ListInhibitors", timeout=PATIENCE)
        for fd in fds:
            os.close(fd)
        try:
            [rows] = body
            return [Inhibitor(*row) for row in rows]
        except (TypeError, ValueError):
            raise LockRefused("its list of locks makes no sense") from None

    async def _call(
        self,
        member: str,
        signature: str = "",
        body: tuple[str, ...] = (),
        *,
        timeout: float | None,  # noqa: ASYNC109
    ) -> tuple[list[Any], list[int]]:
        try:
            answer = await self._connection.call_fds(
                _NAME, _PATH, _MANAGER, member, signature, body, timeout=timeout
            )
        except CallTimeout as error:
            self.missed()
            raise LogindMissing(str(error)) from None
        except RemoteError as error:
            raise self._translated(error) from None
        self.answered()
        return answer

    def _translated(self, error: RemoteError) -> LogindError:
        if is_missing(error) or left_unanswered(error):
            self.missed(start_failure(error))
            return LogindMissing(str(error))
        self.answered()
        if error.name == _IN_PROGRESS:
            return OperationInProgress(error.text)
        if error.name in _POLKIT_IS_SILENT:
            return LockUndecided(str(error))
        # AccessDenied and InteractiveAuthorizationRequired above all; LimitsExceeded beyond InhibitorsMax=.
        return LockRefused(str(error))

    def _sleeping(self, starting: object) -> None:
        for listener in tuple(self._sleep_listeners):
            try:
                listener(bool(starting))
            except Exception:
                _LOGGER.exception("a change of sleep was not dealt with")
