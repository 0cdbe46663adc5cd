# SPDX-License-Identifier: Apache-2.0
"""polkit: may this caller do that (org.freedesktop.PolicyKit1.Authority).

The subject is always the caller's unique bus name. A pid would be a mistake: it may be another process's by
the time that polkit looks at it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import Callable

from missiond.bus.connection import Connection, RemoteError
from missiond.bus.library import Message, MessageFlag
from missiond.bus.values import variant
from missiond.errors import TransactionFailed
from missiond.host.presence import Presence, is_missing, left_unanswered

_LOGGER = logging.getLogger(__name__)
_NAME = "org.freedesktop.PolicyKit1"
_PATH = "/org/freedesktop/PolicyKit1/Authority"
_AUTHORITY = "org.freedesktop.PolicyKit1.Authority"
_ALLOW_USER_INTERACTION = 1
_MAX_LOGGED = 16

PATIENCE = 25.0
"""Seconds that polkit has for an answer of its own."""
USER_PATIENCE = 300.0
"""Seconds that it has where it may ask somebody for a password."""
MAX_PENDING = 8
"""Checks of one caller that may wait for an answer."""


class PolkitMissing(Exception):
    """There is no polkit on this host; `str()` says what the bus said."""


class Polkit:
    """The host's polkit. Checks don't wait for each other."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._presence = Presence(connection, _NAME)
        self._ids = itertools.count(1)
        self._pending: Counter[str] = Counter()
        self._logged: set[str] = set()

    @property
    def available(self) -> bool:
        """Whether polkit runs, or the bus can start it and the last call did not say otherwise."""
        return self._presence.available

    def on_available(self, callback: Callable[[bool], None]) -> None:
        """Call back with True each time polkit appears, a restart included, and False once it is gone."""
        self._presence.on_available(callback)

    async def start(self) -> None:
        """Begin to follow polkit. Never raises for polkit's sake."""
        await self._presence.start()

    def close(self) -> None:
        """Follow polkit no longer."""
        self._presence.close()

    async def check(self, action: str, sender: str, *, interactive: bool) -> bool:
        """Ask whether the owner of the unique name `sender` may do `action`.

        `interactive` lets polkit ask somebody for a password; only for callers that allowed it in their
        message. False where polkit fails or does not answer in time (25 s; 5 min where it may ask), and where
        the caller leaves first. Raises PolkitMissing, and TransactionFailed for a caller with 8 open checks.
        """
        if self._pending[sender] >= MAX_PENDING:
            raise TransactionFailed(f"{MAX_PENDING} of your calls wait for polkit; let one end first")
        self._pending[sender] += 1
        try:
            return await self._check(action, sender, interactive=interactive)
        finally:
            self._pending[sender] -= 1
            if not self._pending[sender]:
                del self._pending[sender]

    async def _check(self, action: str, sender: str, *, interactive: bool) -> bool:
        gone = asyncio.Event()
        watch = self._connection.watch_name(sender, lambda _, new: None if new else gone.set())
        cancellation_id = f"missiond-{next(self._ids)}"
        leaving = asyncio.ensure_future(gone.wait())
        asking = asyncio.ensure_future(self._ask(action, sender, cancellation_id, interactive=interactive))
        try:
            patience = USER_PATIENCE if interactive else PATIENCE
            await asyncio.wait({asking, leaving}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return asking.result()
            _LOGGER.debug("%s of %s is given up", action, sender)
            return False
        finally:
            watch.close()
            leaving.cancel()
            if not asking.done():
                asking.cancel()
                self._cancel(cancellation_id)

    async def _ask(self, action: str, sender: str, cancellation_id: str, *, interactive: bool) -> bool:
        subject = ("system-bus-name", {"name": variant("s", sender)})
        flags = _ALLOW_USER_INTERACTION if interactive else 0
        try:
            answer = await self._connection.call(
                _NAME,
                _PATH,
                _AUTHORITY,
                "CheckAuthorization",
                "(sa{sv})sa{ss}us",
                (subject, action, {}, flags, cancellation_id),
                timeout=None,
            )
        except RemoteError as error:
            if is_missing(error):
                self._presence.missed()
                raise PolkitMissing(str(error)) from None
            if not left_unanswered(error):
                self._presence.answered()
            self._log(action, error)
            return False
        self._presence.answered()
        return _is_authorized(answer)

    def _cancel(self, cancellation_id: str) -> None:
        if not self._connection.connected:
            return
        self._connection.send(
            Message(
                destination=_NAME,
                path=_PATH,
                interface=_AUTHORITY,
                member="CancelCheckAuthorization",
                signature="s",
                body=[cancellation_id],
                flags=MessageFlag.NO_REPLY_EXPECTED,
            )
        )

    def _log(self, action: str, error: RemoteError) -> None:
        """Say once what goes wrong with an action: clients choose how often."""
        if action not in self._logged and len(self._logged) < _MAX_LOGGED:
            self._logged.add(action)
            _LOGGER.warning("polkit does not decide on %s: %.200s", action, error)


def _is_authorized(answer: list[object]) -> bool:
    """First member of the struct (bba{ss}); nothing but a plain true will do."""
    result = answer[0] if len(answer) == 1 else None
    return isinstance(result, list | tuple) and len(result) == 3 and result[0] is True
