# SPDX-License-Identifier: Apache-2.0
"""Permission by polkit (org.freedesktop.PolicyKit1.Authority).

The subject is always the caller's unique bus name. A pid would be a mistake: it may be another process's by
the time that polkit looks at it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from missiond.bus.connection import Connection, RemoteError
from missiond.bus.variants import variant
from missiond.common.admission import Admission
from missiond.common.log_limiter import LogLimiter
from missiond.core.tasks.shares import ROOT
from missiond.errors import SystemServiceFailed, TransactionFailed
from missiond.host.followed_service import FollowedService, is_missing

_LOGGER = logging.getLogger(__name__)
_NAME = "org.freedesktop.PolicyKit1"
_PATH = "/org/freedesktop/PolicyKit1/Authority"
_AUTHORITY = "org.freedesktop.PolicyKit1.Authority"
_ALLOW_USER_INTERACTION = 1
_NO_DETAILS: Mapping[str, str] = MappingProxyType({})

PATIENCE = 25.0
"""Seconds for an answer of polkit's own."""
USER_PATIENCE = 300.0
"""Seconds for an answer of somebody asked for a password."""
MAX_WAITING = 256
"""Calls of one person waiting for polkit at a time."""
MAX_ASKING, MAX_AT_ONCE = 32, 64
"""Checks with polkit at a time: with people asked for a password, and all others. The bus lets
a connection have 128 calls without an answer (max_replies_per_connection of dbus-daemon(1)), and an
authentication agent that never answers must not use them up."""
MAX_EACH = 8
"""Of either, checks of one person; fewer of the former where many people are asked."""

_UNDECIDED = frozenset(
    f"org.freedesktop.DBus.Error.{name}"
    for name in ("LimitsExceeded", "NoReply", "NoMemory", "Timeout", "TimedOut")
)
"""What says nothing of whether the caller may: no denial."""


class PolkitMissing(Exception):
    """No polkit on this host; `str()` is the bus's reason."""


class _Verdict(Enum):
    YES = "yes"
    NO = "no"
    CHALLENGE = "challenge"
    """Yes, if somebody types a password."""


class Polkit(FollowedService):
    """The host's polkit. Checks don't wait for each other, except for a person's beyond the eighth."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, _NAME)
        self._ids = itertools.count(1)
        self._limited = LogLimiter(_LOGGER)
        self._calls = Admission(_too_many, each=MAX_WAITING)
        self._people = Admission(_too_many, most=MAX_ASKING, each=MAX_EACH, take_back=True)
        self._checks = Admission(_too_many, most=MAX_AT_ONCE, each=MAX_EACH)

    async def check(
        self,
        action: str,
        sender: str,
        *,
        interactive: bool,
        details: Mapping[str, str] = _NO_DETAILS,
        person: int = ROOT,
    ) -> bool:
        """Ask whether the owner of the unique name `sender` may do `action`.

        `interactive` lets polkit ask somebody for a password, where it takes one; only for callers that
        allowed it in their message. `details` are for rules (action.lookup() in polkit(8)). `person` is
        whose call it is: polkit has 8 of a person's at a time, the others wait, and people's come by turns.
        False where polkit says so or fails to decide, where nobody types a password in time (5 min from
        when somebody is asked), and where the caller leaves first.

        Raises PolkitMissing, SystemServiceFailed where polkit or the bus has no answer now (25 s), and
        TransactionFailed for a person with 256 open calls.
        """
        with self._calls.place(person):
            return await self._decide_while_there(action, sender, details, person, people=interactive)

    async def _decide_while_there(
        self, action: str, sender: str, details: Mapping[str, str], person: int, *, people: bool
    ) -> bool:
        gone = asyncio.Event()
        watch = self._connection.watch_name(sender, lambda _, new: None if new else gone.set())
        leaving = asyncio.ensure_future(gone.wait())
        deciding = asyncio.ensure_future(self._decide(action, sender, details, person, people=people))
        try:
            await asyncio.wait({deciding, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return deciding.done() and deciding.result()
        finally:
            watch.close()
            leaving.cancel()
            deciding.cancel()

    async def check_own(self, action: str) -> bool:
        """Ask whether this very process may do `action`; raises PolkitMissing and SystemServiceFailed."""
        return await self._check(action, self._connection.unique_name, _NO_DETAILS, ROOT) is _Verdict.YES

    async def _decide(
        self, action: str, sender: str, details: Mapping[str, str], person: int, *, people: bool
    ) -> bool:
        verdict = await self._check(action, sender, details, person)
        if verdict is _Verdict.CHALLENGE and people:
            verdict = await self._ask_people(action, sender, details, person)
        return verdict is _Verdict.YES

    async def _check(self, action: str, sender: str, details: Mapping[str, str], person: int) -> _Verdict:
        """Ask once, and no people."""
        try:
            async with asyncio.timeout(PATIENCE), self._checks.turn(person):
                return await self._ask(action, sender, details, interactive=False)
        except TimeoutError:
            raise SystemServiceFailed(
                f"polkit does not answer within {PATIENCE:g} s; try again later"
            ) from None

    async def _ask_people(
        self, action: str, sender: str, details: Mapping[str, str], person: int
    ) -> _Verdict:
        """Have polkit ask people, once more after the place was needed for somebody else's question."""
        while True:
            async with self._people.turn(person) as taken_back:
                asking = asyncio.ensure_future(self._ask(action, sender, details, interactive=True))
                ending = asyncio.ensure_future(taken_back.wait())
                try:
                    await asyncio.wait(
                        {asking, ending}, timeout=USER_PATIENCE, return_when=asyncio.FIRST_COMPLETED
                    )
                    if asking.done():
                        return asking.result()
                    if not taken_back.is_set():
                        return _Verdict.NO
                finally:
                    ending.cancel()
                    asking.cancel()

    async def _ask(
        self, action: str, sender: str, details: Mapping[str, str], *, interactive: bool
    ) -> _Verdict:
        subject = ("system-bus-name", {"name": variant("s", sender)})
        flags = _ALLOW_USER_INTERACTION if interactive else 0
        cancellation_id = f"missiond-{next(self._ids)}"
        try:
            answer = await self._connection.call(
                _NAME,
                _PATH,
                _AUTHORITY,
                "CheckAuthorization",
                "(sa{sv})sa{ss}us",
                (subject, action, dict(details), flags, cancellation_id),
                timeout=None,
            )
        except RemoteError as error:
            return self._verdict_of(action, error)
        except asyncio.CancelledError:
            _LOGGER.debug("%s of %s is given up", action, sender)
            self._cancel(cancellation_id)
            raise
        self.answered()
        return _verdict(answer)

    def _verdict_of(self, action: str, error: RemoteError) -> _Verdict:
        """Return the verdict of an error; raises PolkitMissing and SystemServiceFailed."""
        missing = is_missing(error)
        if missing:
            self.missed()
        elif error.by_service:
            self.answered()
        if error.name in _UNDECIDED:
            self._limited.once(action, "polkit does not decide on %s: %.200s", action, error)
            name = error.name.rpartition(".")[2]
            raise SystemServiceFailed(f"polkit can't be asked now ({name}); try again later") from None
        if missing:
            raise PolkitMissing(str(error)) from None
        self._limited.once(action, "polkit does not decide on %s: %.200s", action, error)
        return _Verdict.NO

    def _cancel(self, cancellation_id: str) -> None:
        if not self._connection.connected:
            return
        self._connection.send_call(
            _NAME, _PATH, _AUTHORITY, "CancelCheckAuthorization", "s", [cancellation_id]
        )


def _too_many() -> Exception:
    return TransactionFailed(f"{MAX_WAITING} calls of this user wait for polkit; let one end first")


def _verdict(answer: list[object]) -> _Verdict:
    """First members of the struct (bba{ss}); nothing but a plain true will do."""
    result = answer[0] if len(answer) == 1 else None
    if not (isinstance(result, list | tuple) and len(result) == 3):
        return _Verdict.NO
    if result[0] is True:
        return _Verdict.YES
    return _Verdict.CHALLENGE if result[1] is True else _Verdict.NO
