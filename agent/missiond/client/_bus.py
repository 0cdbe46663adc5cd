# SPDX-License-Identifier: Apache-2.0
"""Connection of a client: calls with signatures from the interface's XML, and signals of the agent."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeVar

from missiond.bus import standard
from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.bus.introspection import InterfaceSpec, load_spec
from missiond.bus.library import Variant
from missiond.bus.variants import unwrap, variant
from missiond.bus.wire.encode import EncodeError
from missiond.bus_names import BUS_NAME, MANAGER_PATH
from missiond.client._errors import Missing, Unreachable, exception_for
from missiond.client._inbox import Inbox
from missiond.common.subscription import Subscription
from missiond.errors import Error, Invalid, PermissionDenied

TIMEOUT = 60.0
"""Seconds for an answer; more where polkit may ask the user for a password first."""
PATIENCE = 5.0
"""Seconds until an agent is given up for answering neither a call nor Ping."""
INTERACTIVE_TIMEOUT = 300.0
_END = 5.0
"""Seconds in which what was begun in the background ends before the connection is closed."""
_POLKIT = (
    "org.freedesktop.PolicyKit1",
    "/org/freedesktop/PolicyKit1/Authority",
    "org.freedesktop.PolicyKit1.Authority",
)
_STANDARD = {
    (standard.PROPERTIES, "GetAll"): "s",
    (standard.OBJECT_MANAGER, "GetManagedObjects"): "",
}

_LOGGER = logging.getLogger(__name__)

Item = TypeVar("Item")
Value = TypeVar("Value")
Reply = tuple[list[Any], list[int]]

spec_of: Callable[[str], InterfaceSpec] = cache(load_spec)
"""Return the description of an interface, read once."""


@dataclass(frozen=True, kw_only=True)
class ConnectionSettings:
    """How the agent is reached.

    `session`: on the session bus. `interactive`: polkit may ask the user for a password. `on_denial` is
    called where polkit denies a call; the call is made again, and polkit may ask then, if it returns True.
    `timeout`: seconds for an answer that polkit does not wait for. `patience`: seconds after which a call
    without an answer is given up where the agent does not even answer Ping.
    """

    session: bool = False
    interactive: bool = False
    on_denial: Callable[[], Awaitable[bool]] | None = None
    timeout: float = TIMEOUT
    patience: float = PATIENCE

    @property
    def bus(self) -> str:
        """Name of the bus, for people."""
        return "session bus" if self.session else "system bus"


class _NoConnectionError(RuntimeError):
    """The connection was not opened yet, or is closed."""


class AgentBus:
    """Connection to the agent's bus."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings
        self.interactive = settings.interactive
        """Whether polkit may ask the user for a password."""
        self._connection: Connection | None = None
        self._entered = self._closing = False
        self._pid = os.getpid()
        self._watch: Subscription | None = None
        self._lost: asyncio.Task[None] | None = None
        self._following: asyncio.Future[None] | None = None
        self._on_lost: list[Callable[[Error], None]] = []
        self._returned: list[Callable[[], None]] = []
        self._left: list[Callable[[], None]] = []
        self._begun: set[asyncio.Task[Any]] = set()
        self._counter = 0
        self.listening: Counter[str] = Counter()
        """Devices to readers of this client who hear of changes of their missions."""

    async def open(self) -> None:
        """Connect, once; raises Unreachable."""
        bus = self.settings.bus
        if self._entered:
            raise RuntimeError("a connection is entered once; call `missiond.connect()` again")
        self._entered = True
        try:
            # descriptors pass out, but none in
            async with asyncio.timeout(min(self.settings.patience, self.settings.timeout)):
                self._connection = await Connection.open(system=not self.settings.session, fds=lambda: False)
        except TimeoutError as error:
            raise Unreachable(f"the {bus} gives no answer", Missing.BUS) from error
        except OSError as error:
            raise Unreachable(f"there is no {bus} ({error.strerror or error})", Missing.BUS) from error
        except RemoteError as error:
            if error.name.endswith(".LimitsExceeded"):
                text = f"the {bus} takes no further connection of this user"
                raise Unreachable(text, Missing.CONNECTION) from error
            raise Unreachable(f"there is no {bus} ({error})", Missing.BUS) from error
        except ValueError as error:
            raise Unreachable(f"there is no {bus} ({error})", Missing.BUS) from error

    async def close(self) -> None:
        """Wait for background work and disconnect; the agent ends the connection's tasks."""
        if self._connection is None or self._closing:
            return
        self._closing = True
        try:
            if self._begun:
                await asyncio.wait(self._begun, timeout=_END)
        finally:
            connection, self._connection = self._connection, None
            left = {*self._begun, *filter(None, [self._lost])}
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left)
            self._fail(Unreachable("the connection to the agent was closed", Missing.BUS))
            await connection.close()

    @property
    def is_open(self) -> bool:
        """Whether calls can be made."""
        return self._connection is not None and self._connection.connected

    @property
    def is_copy(self) -> bool:
        """Whether this process is a fork of the connected process."""
        return os.getpid() != self._pid

    @property
    def connection(self) -> Connection:
        """Open connection; raises RuntimeError without one."""
        if self._connection is None:
            raise _NoConnectionError("there is no connection: use `async with missiond.connect() as agent`")
        return self._connection

    def unique(self) -> str:
        """Return a text unique on this bus, new at each call."""
        self._counter += 1
        return f"{self.connection.unique_name.removeprefix(':')}-{self._counter}"

    # --- calls

    async def call(
        self,
        interface: str,
        member: str,
        *arguments: object,
        path: str = MANAGER_PATH,
        fds: Sequence[int] = (),
    ) -> list[Any]:
        """Call a method and return the results as plain values; raises the Error of an error reply.

        Descriptors in `fds` stay the caller's; an argument of type `h` is an index into them.
        """
        signature = _STANDARD.get((interface, member))
        if signature is None:
            signature = spec_of(interface).methods[member][0]
        send = partial(
            self.connection.call_fds, BUS_NAME, path, interface, member, signature, arguments, fds=fds
        )
        interactive, on_denial = self.interactive, self.settings.on_denial
        try:
            return await self._answer(send, interactive=interactive)
        except PermissionDenied as error:
            if interactive or on_denial is None or not error.by_polkit or not await on_denial():
                raise
        return await self._answer(send, interactive=True)

    async def properties(self, interface: str, path: str = MANAGER_PATH) -> dict[str, Any]:
        """Return all properties of one interface of an object."""
        [values] = await self.call(standard.PROPERTIES, "GetAll", interface, path=path)
        return dict(values)

    def options(self, interface: str, member: str, values: Mapping[str, object]) -> dict[str, Variant]:
        """Return the `a{sv}` argument of a method without None values; raises Invalid."""
        known = spec_of(interface).options[member]
        wrapped = {}
        for name, value in values.items():
            key = name.replace("_", "-") if name not in known else name
            if value is None:
                continue
            try:
                wrapped[key] = variant(known[key], value)
            except EncodeError as error:
                raise Invalid(f"{name}: {error}") from None
        return wrapped

    async def own_pid(self) -> int:
        """Return the bus's number of this process; not os.getpid() in a pid namespace."""
        asking = self.connection.call_bus("GetConnectionCredentials", "s", (self.connection.unique_name,))
        [credentials] = await self._reach(asking)
        return int(unwrap(credentials).get("ProcessID", os.getpid()))

    async def may_unasked(self, action: str) -> bool:
        """Ask polkit whether this connection may do `action` without a password; False without an answer."""
        subject = ("system-bus-name", {"name": variant("s", self.connection.unique_name)})
        arguments: tuple[object, ...] = (subject, action, {}, 0, "")
        try:
            [answer] = await self.connection.call(
                *_POLKIT, "CheckAuthorization", "(sa{sv})sa{ss}us", arguments, timeout=self.settings.timeout
            )
        except (CallTimeout, RemoteError, OSError, ValueError):
            return False
        return answer[0] is True

    async def _answer(self, send: Callable[..., Awaitable[Reply]], *, interactive: bool) -> list[Any]:
        timeout = INTERACTIVE_TIMEOUT if interactive else self.settings.timeout
        patience = min(self.settings.patience, self.settings.timeout)
        answer = asyncio.ensure_future(send(timeout=timeout, interactive=interactive))
        try:
            while not answer.done():
                await asyncio.wait({answer}, timeout=patience / 2)
                if not answer.done() and not await self._is_there(patience / 2):
                    raise Unreachable(f"the agent gives no answer on the {self.settings.bus}", Missing.ANSWER)
            values, taken = await self._reach(answer)
        finally:
            answer.cancel()
        for fd in taken:
            os.close(fd)
        return [unwrap(value) for value in values]

    async def _is_there(self, within: float) -> bool:
        """Ping the agent for so many seconds; True also where it is being started."""
        ping = (BUS_NAME, MANAGER_PATH, standard.PEER, "Ping")
        try:
            if await self.connection.name_owner(BUS_NAME) is not None:
                await self.connection.call(*ping, timeout=within, no_auto_start=True)
        except CallTimeout:
            return False
        except (RemoteError, OSError):  # the call itself has ended as well, and says more
            return True
        return True

    async def _reach(self, answer: Awaitable[Value]) -> Value:
        bus = self.settings.bus
        try:
            return await answer
        except CallTimeout as error:
            raise Unreachable(f"the agent gives no answer on the {bus}", Missing.ANSWER) from error
        except RemoteError as error:
            raise exception_for(error.name, error.text, bus) from error
        except EncodeError as error:
            raise Invalid(str(error)) from None
        except OSError as error:
            raise Unreachable(f"the {bus} is gone ({error})", Missing.BUS) from error

    # --- signals

    async def subscribe(
        self,
        interface: str,
        members: Mapping[str, Callable[..., None]],
        *,
        path: str | None = None,
        arg0path: str | None = None,
    ) -> Subscription:
        """Call the member's function with the arguments of each such signal of the agent, from now on.

        `path` is the object whose signals they are, any by default; `arg0path` is as in match rules of the
        bus. What is asked for afterwards comes after.
        """
        await self._follow()
        connection = self.connection
        where = f",path='{path}'" if path is not None else ""
        only = f",member='{next(iter(members))}'" if len(members) == 1 else ""
        where += f",arg0path='{arg0path}'" if arg0path is not None else ""
        rule = f"type='signal',sender='{BUS_NAME}',interface='{interface}'{only}{where}"
        connection.add_match(rule)
        undo = [
            connection.receive(
                sender=BUS_NAME,
                interface=interface,
                member=member,
                path=path,
                callback=lambda *arguments, heard=heard: heard(*(unwrap(each) for each in arguments)),
            )
            for member, heard in members.items()
        ]

        def close() -> None:
            for subscription in undo:
                subscription.close()
            if connection.connected:
                connection.remove_match(rule)

        return Subscription(close)

    @contextmanager
    def inbox(self) -> Iterator[Inbox[Any]]:
        """Open a queue for the block; reading fails after the end of the connection."""
        inbox: Inbox[Any] = Inbox()
        lost = self.on_lost(inbox.fail)
        try:
            yield inbox
        finally:
            lost.close()

    def on_lost(self, callback: Callable[[Error], None]) -> Subscription:
        """Call back with the reason when the connection ends; at once after the end."""
        if not self.is_open:
            callback(self._gone())
        return _listed(self._on_lost, callback)

    def on_return(self, callback: Callable[[], None]) -> Subscription:
        """Call when the agent is on the bus again, as another process than before."""
        return _listed(self._returned, callback)

    def on_leave(self, callback: Callable[[], None]) -> Subscription:
        """Call when the agent leaves the bus."""
        return _listed(self._left, callback)

    def begin(self, work: Coroutine[Any, Any, object]) -> None:
        """Start work in the background and log errors."""
        task = asyncio.ensure_future(_logged(work))
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)

    async def _follow(self) -> None:
        """Know from now on who has the agent's name on the bus."""
        if self._lost is None:
            self._watch = self.connection.watch_name(BUS_NAME, self._owner_changed)
            self._lost = asyncio.ensure_future(self._wait_lost(self.connection))
        if self._following is None:
            self._following = asyncio.ensure_future(self.connection.names.settle(BUS_NAME))
        try:
            await self._reach(asyncio.shield(self._following))
        except Error:
            self._following = None
            raise

    def _owner_changed(self, old: str, new: str) -> None:
        for callback in (*(self._left if old else ()), *(self._returned if new else ())):
            callback()

    async def _wait_lost(self, connection: Connection) -> None:
        await connection.wait_for_disconnect()
        self._fail(self._gone())

    def _fail(self, error: Error) -> None:
        for callback in tuple(self._on_lost):
            callback(error)

    def _gone(self) -> Unreachable:
        return Unreachable(f"the {self.settings.bus} is gone", Missing.BUS)


def _listed(callbacks: list[Item], callback: Item) -> Subscription:
    callbacks.append(callback)
    return Subscription(lambda: callbacks.remove(callback))


async def _logged(work: Coroutine[Any, Any, object]) -> None:
    try:
        await work
    except Error as error:
        _LOGGER.warning("%s", error)
    except _NoConnectionError:  # closed before it began: nobody wants it any more
        pass
