# SPDX-License-Identifier: Apache-2.0
"""Identities of callers, asked of the bus once, and watches on unique names."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from missiond.bus.connection import BUS_NAME, CallTimeout, Connection, RemoteError
from missiond.bus.variants import unwrap
from missiond.bus.wire.message import Incoming
from missiond.common.background_work import BackgroundWork
from missiond.common.log_limiter import LogLimiter
from missiond.common.subscription import Subscription
from missiond.errors import CallerVerificationFailed, TransactionFailed

MAX_CACHED = 1024
"""Most names kept; names with watchers count but are never evicted."""
MAX_RULES = 256
"""Most names with a match rule each; dbus-daemon allows 512 rules on a connection."""
_FEW_RULES = 128
MAX_ASKED = 16
"""Callers asked about at a time; calls of further ones wait."""

_RULE = (
    f"type='signal',sender='{BUS_NAME}',path='/org/freedesktop/DBus',"
    f"interface='{BUS_NAME}',member='NameOwnerChanged',arg2=''"
)

_throttle = LogLimiter(logging.getLogger(__name__))
MAX_UNIDENTIFIED = 128
"""Calls of one connection waiting at a time for the bus to tell the caller."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The process at the other end of a connection, as the kernel described the process to the bus."""

    name: str
    """Unique name."""
    pid: int
    uid: int


class _Tracked:
    __slots__ = ("callbacks", "caller", "identifying")

    def __init__(self) -> None:
        self.caller: Caller | None = None
        self.identifying: asyncio.Task[Caller] | None = None
        self.callbacks: list[Callable[[], None]] = []

    @property
    def busy(self) -> bool:
        return bool(self.callbacks) or self.identifying is not None


class Callers:
    """Cache of identities, and watcher of unique names."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tracked: OrderedDict[str, _Tracked] = OrderedDict()
        self._broad = False
        self._checks = BackgroundWork(_throttle, "looking for a caller")
        self._on_answer: Callable[[], None] | None = None
        self._asking = 0
        """Count of the callers that the bus is being asked about."""
        connection.names.on_change(self._changed)

    def __len__(self) -> int:
        return len(self._tracked)

    def on_answer(self, callback: Callable[[], None]) -> None:
        """Have `callback` called at each answer of the bus about a caller, failures included."""
        self._on_answer = callback

    def may_ask(self) -> bool:
        """Whether the bus may be asked about one more caller."""
        return self._asking < MAX_ASKED

    def cached(self, name: str) -> Caller | None:
        """Return the identity of `name`, None while unknown."""
        tracked = self._tracked.get(name)
        if tracked is None or tracked.caller is None:
            return None
        self._tracked.move_to_end(name)
        return tracked.caller

    async def identify(self, name: str) -> Caller:
        """Ask the bus once for the identity of `name`; raises CallerVerificationFailed."""
        known = self.cached(name)
        if known is not None:
            return known
        tracked = self._track(name)
        if tracked.identifying is None:
            self._asking += 1
            tracked.identifying = asyncio.get_running_loop().create_task(self._ask(name, tracked))
            tracked.identifying.add_done_callback(self._answered)
            tracked.identifying.add_done_callback(_retrieve)
        # several calls may wait for one answer, and one that is cancelled must not take it from the others
        return await asyncio.shield(tracked.identifying)

    def on_vanish(self, name: str, callback: Callable[[], None]) -> Subscription:
        """Call `callback` once when `name` leaves the bus, soon for a name gone already."""
        known = name in self._tracked
        tracked = self._track(name)
        tracked.callbacks.append(callback)
        if not known:
            self._checks.start(self._check(name))

        def undo() -> None:
            if callback in tracked.callbacks:
                tracked.callbacks.remove(callback)
            self._evict()

        return Subscription(undo)

    async def _ask(self, name: str, tracked: _Tracked) -> Caller:
        """Ask the bus, with the rule in place already: a client that leaves in between is noticed."""
        try:
            [credentials] = await self._connection.call_bus("GetConnectionCredentials", "s", (name,))
            caller = _caller(name, unwrap(credentials))
        except RemoteError as error:
            self._vanished(name)
            raise CallerVerificationFailed(f"the caller {name} can't be identified: {error.name}") from None
        except CallTimeout:
            raise CallerVerificationFailed(f"the bus does not say who {name} is") from None
        finally:
            tracked.identifying = None
        if self._tracked.get(name) is tracked:
            tracked.caller = caller
            self._evict()
        return caller

    def _answered(self, _task: asyncio.Task[Caller]) -> None:
        self._asking -= 1
        if self._on_answer is not None:
            self._on_answer()

    async def _check(self, name: str) -> None:
        """Close the race between a name's going and our asking to be told of it."""
        try:
            [present] = await self._connection.call_bus("NameHasOwner", "s", (name,))
        except (RemoteError, CallTimeout) as error:
            _throttle.warning("cannot ask whether %s is still there: %s", name, error)
            return
        if not present:
            self._vanished(name)

    def _changed(self, name: str, _old: str, new: str) -> None:
        if not new and name in self._tracked:
            self._vanished(name)

    def _vanished(self, name: str) -> None:
        tracked = self._tracked.get(name)
        if tracked is None:
            return
        self._forget(name)
        # One callback may call off others, and each takes itself out.
        while tracked.callbacks:
            callback = tracked.callbacks.pop(0)
            try:
                callback()
            except Exception:  # noqa: BLE001
                _throttle.exception("a watcher of %s failed", name)

    def _track(self, name: str) -> _Tracked:
        tracked = self._tracked.get(name)
        if tracked is not None:
            self._tracked.move_to_end(name)
            return tracked
        tracked = self._tracked[name] = _Tracked()
        if not self._broad and len(self._tracked) > MAX_RULES:
            self._broad = True
            self._connection.add_match(_RULE)
            for other in self._tracked:
                if other != name:
                    self._connection.remove_match(_rule(other))
        elif not self._broad:
            self._connection.add_match(_rule(name))
        self._evict(keep=name)
        return tracked

    def _forget(self, name: str) -> None:
        del self._tracked[name]
        if not self._broad:
            self._connection.remove_match(_rule(name))
        elif len(self._tracked) < _FEW_RULES:
            self._broad = False
            for other in self._tracked:
                self._connection.add_match(_rule(other))
            self._connection.remove_match(_RULE)

    def _evict(self, keep: str = "") -> None:
        """Forget the names not heard of for longest that nobody watches."""
        excess = len(self._tracked) - MAX_CACHED
        if excess <= 0:
            return
        idle = (name for name, tracked in self._tracked.items() if not tracked.busy and name != keep)
        for name in list(islice(idle, excess)):
            self._forget(name)


def _rule(name: str) -> str:
    return f"{_RULE},arg0='{name}'"


def _caller(name: str, credentials: dict[str, Any]) -> Caller:
    pid, uid = credentials.get("ProcessID"), credentials.get("UnixUserID")
    if not pid or uid is None:
        raise CallerVerificationFailed(f"the bus does not know the process of {name}")
    return Caller(name, pid, uid)


def _retrieve(task: asyncio.Task[Caller]) -> None:
    """Mark a failure as seen, even when everybody who waited for it is gone."""
    if not task.cancelled():
        task.exception()


class UnidentifiedCalls:
    """Calls with an answer for each caller; served in order once the caller is known."""

    def __init__(
        self, callers: Callers, serve: Callable[[Incoming], None], most_bytes: Callable[[], int]
    ) -> None:
        self._callers = callers
        self._serve = serve
        self._most_bytes = most_bytes
        self._waiting: dict[str, list[Incoming]] = {}
        self._asking = BackgroundWork(_throttle, "serving a caller's first calls")
        self._unknown = ""
        """Whose calls are served now although nobody knows who that is."""

    def put(self, call: Incoming) -> bool:
        """Return whether the call has to wait. Raises TransactionFailed where too many do."""
        sender = call.sender or ""
        if self._callers.cached(sender) is not None or sender == self._unknown:
            return False
        if call.body_length > self._most_bytes():
            return False  # which is refused
        waiting = self._waiting.setdefault(sender, [])
        if len(waiting) >= MAX_UNIDENTIFIED:
            raise TransactionFailed(
                f"{MAX_UNIDENTIFIED} calls of this connection wait already; wait for replies"
            )
        waiting.append(call)
        if len(waiting) == 1:
            self._asking.start(self._ask(sender))
        return True

    def flush(self) -> None:
        """Serve all calls now: the server answers no more."""
        waiting, self._waiting = self._waiting, {}
        for sender, calls in waiting.items():
            self._unknown = sender
            for call in calls:
                self._serve(call)
        self._unknown = ""

    async def _ask(self, sender: str) -> None:
        try:
            await self._callers.identify(sender)
        except CallerVerificationFailed:
            self._unknown = sender  # it sees what everybody may see
        try:
            for call in self._waiting.pop(sender, ()):
                self._serve(call)
        finally:
            self._unknown = ""
