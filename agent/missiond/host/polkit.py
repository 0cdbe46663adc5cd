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
from collections.abc import Callable, Mapping
from enum import Enum
from types import MappingProxyType

from missiond.bus.connection import Connection, RemoteError
from missiond.bus.variants import variant
from missiond.core.questions import NoRoom, Questions
from missiond.core.tasks.shares import ROOT
from missiond.errors import SystemServiceFailed, TransactionFailed
from missiond.host.places import Places
from missiond.host.service_presence import Presence, is_missing

_LOGGER = logging.getLogger(__name__)
_NAME = "org.freedesktop.PolicyKit1"
_PATH = "/org/freedesktop/PolicyKit1/Authority"
_AUTHORITY = "org.freedesktop.PolicyKit1.Authority"
_ALLOW_USER_INTERACTION = 1
_MAX_LOGGED = 16
_NO_DETAILS: Mapping[str, str] = MappingProxyType({})

PATIENCE = 25.0
"""Seconds that polkit has for an answer of its own."""
USER_PATIENCE = 300.0
"""Seconds that it has where it may ask somebody for a password."""
MAX_PENDING = 8
"""Checks of one caller that may wait for an answer."""
MAX_ASKING, MAX_AT_ONCE = 32, 64
"""Checks of all callers under way: those for which people are asked, and others, which wait their turn.
The bus lets a connection have 128 calls without an answer (max_replies_per_connection of dbus-daemon(1)), and
an authentication agent that never answers must not use them up."""
MAX_ASKING_EACH = 8
"""Of the former, those of one person; fewer where many are asked."""

_UNDECIDED = frozenset(
    f"org.freedesktop.DBus.Error.{name}"
    for name in ("LimitsExceeded", "NoReply", "NoMemory", "Timeout", "TimedOut")
)
"""What says nothing of whether the caller may: no denial."""


class PolkitMissing(Exception):
    """There is no polkit on this host; `str()` says what the bus said."""


class _Verdict(Enum):
    YES = "yes"
    NO = "no"
    CHALLENGE = "challenge"
    """Yes, if somebody types a password."""


class Polkit:
    """The host's polkit. Checks don't wait for each other."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._presence = Presence(connection, _NAME)
        self._ids = itertools.count(1)
        self._pending: Counter[str] = Counter()
        self._questions = Questions(MAX_ASKING, MAX_ASKING_EACH)
        self._giving_up: dict[str, asyncio.Event] = {}
        """By cancellation id, of the questions that wait for people."""
        self._places = Places(MAX_AT_ONCE)
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
        whose call it is: people's calls wait by turns. False where polkit says so or fails to decide, where
        nobody types a password in time (5 min), and where the caller leaves first.

        Raises PolkitMissing, SystemServiceFailed where polkit or the bus has no answer now (25 s), and
        TransactionFailed for a caller with 8 open checks, a person with 8 questions, or while 32 people are
        asked, for whom those of people with several may be given up.
        """
        if self._pending[sender] >= MAX_PENDING:
            raise TransactionFailed(f"{MAX_PENDING} of your calls wait for polkit; let one end first")
        self._pending[sender] += 1
        try:
            async with self._places.one(person):
                verdict = await self._check(action, sender, details)
            if verdict is _Verdict.CHALLENGE and interactive:
                verdict = await self._ask_people(action, sender, details, person)
            return verdict is _Verdict.YES
        finally:
            self._pending[sender] -= 1
            if not self._pending[sender]:
                del self._pending[sender]

    async def check_own(self, action: str) -> bool:
        """Ask whether this very process may do `action`; raises PolkitMissing and SystemServiceFailed."""
        async with self._places.one(ROOT):
            return await self._check(action, self._connection.unique_name, _NO_DETAILS) is _Verdict.YES

    async def _ask_people(
        self, action: str, sender: str, details: Mapping[str, str], person: int
    ) -> _Verdict:
        question = self._next_id()
        try:
            other = self._questions.begin(question, person)
        except NoRoom as error:
            raise TransactionFailed(str(error)) from None
        if isinstance(other, str):
            self._giving_up[other].set()
        self._giving_up[question] = asyncio.Event()
        try:
            return await self._check(action, sender, details, question)
        finally:
            del self._giving_up[question]
            self._questions.end(question, person)

    async def _check(
        self, action: str, sender: str, details: Mapping[str, str], question: str | None = None
    ) -> _Verdict:
        """Ask once; people only where `question` names an open one."""
        gone = asyncio.Event()
        watch = self._connection.watch_name(sender, lambda _, new: None if new else gone.set())
        asks = question is not None
        cancellation_id = question or self._next_id()
        ends = [asyncio.ensure_future(gone.wait())]
        if question is not None:
            ends.append(asyncio.ensure_future(self._giving_up[question].wait()))
        asking = asyncio.ensure_future(
            self._ask(action, sender, dict(details), cancellation_id, interactive=asks)
        )
        try:
            patience = USER_PATIENCE if asks else PATIENCE
            await asyncio.wait({asking, *ends}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return asking.result()
            _LOGGER.debug("%s of %s is given up", action, sender)
            if gone.is_set():
                return _Verdict.NO
            if question is None:
                raise SystemServiceFailed(f"polkit does not answer within {PATIENCE:g} s; try again later")
            if self._giving_up[question].is_set():
                raise TransactionFailed("too many questions of polkit's wait for people; try again later")
            return _Verdict.NO
        finally:
            watch.close()
            for each in ends:
                each.cancel()
            if not asking.done():
                asking.cancel()
                self._cancel(cancellation_id)

    def _next_id(self) -> str:
        return f"missiond-{next(self._ids)}"

    async def _ask(
        self, action: str, sender: str, details: dict[str, str], cancellation_id: str, *, interactive: bool
    ) -> _Verdict:
        subject = ("system-bus-name", {"name": variant("s", sender)})
        flags = _ALLOW_USER_INTERACTION if interactive else 0
        try:
            answer = await self._connection.call(
                _NAME,
                _PATH,
                _AUTHORITY,
                "CheckAuthorization",
                "(sa{sv})sa{ss}us",
                (subject, action, details, flags, cancellation_id),
                timeout=None,
            )
        except RemoteError as error:
            return self._failed(action, error)
        self._presence.answered()
        return _verdict(answer)

    def _failed(self, action: str, error: RemoteError) -> _Verdict:
        """What an error means; raises PolkitMissing and SystemServiceFailed."""
        missing = is_missing(error)
        if missing:
            self._presence.missed()
        elif error.by_service:
            self._presence.answered()
        if error.name in _UNDECIDED:
            self._log(action, error)
            name = error.name.rpartition(".")[2]
            raise SystemServiceFailed(f"polkit can't be asked now ({name}); try again later") from None
        if missing:
            raise PolkitMissing(str(error)) from None
        self._log(action, error)
        return _Verdict.NO

    def _cancel(self, cancellation_id: str) -> None:
        if not self._connection.connected:
            return
        self._connection.send_call(
            _NAME, _PATH, _AUTHORITY, "CancelCheckAuthorization", "s", [cancellation_id]
        )

    def _log(self, action: str, error: RemoteError) -> None:
        """Say once what goes wrong with an action: clients choose how often."""
        if action not in self._logged and len(self._logged) < _MAX_LOGGED:
            self._logged.add(action)
            _LOGGER.warning("polkit does not decide on %s: %.200s", action, error)


def _verdict(answer: list[object]) -> _Verdict:
    """First members of the struct (bba{ss}); nothing but a plain true will do."""
    result = answer[0] if len(answer) == 1 else None
    if not (isinstance(result, list | tuple) and len(result) == 3):
        return _Verdict.NO
    if result[0] is True:
        return _Verdict.YES
    return _Verdict.CHALLENGE if result[1] is True else _Verdict.NO
