# SPDX-License-Identifier: Apache-2.0
"""One connection to a bus: calls with timeouts, signals, match rules, and calls handed to a server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from missiond.bus.name_owners import Names
from missiond.bus.pending_calls import (
    BUS_NAME,
    BUS_PATH,
    DISCONNECTED,
    CallTimeout,
    PendingCalls,
    RemoteError,
)
from missiond.bus.signals import Callback, SignalHandlers
from missiond.bus.wire import message as wire
from missiond.bus.wire.address import connect, standard_address
from missiond.bus.wire.encode import encode
from missiond.bus.wire.transport import Transport
from missiond.common.log_limiter import LogLimiter
from missiond.common.subscription import Subscription

_PEER = "org.freedesktop.DBus.Peer"

_throttle = LogLimiter(logging.getLogger(__name__))

CallHandler = Callable[[wire.Incoming], None]


class Connection:
    """An open connection, made by `open`. Nothing is sent twice or out of order."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: Transport
        self._serial = 0
        self._pending = PendingCalls()
        self._rules: dict[str, int] = {}
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._call_handler: CallHandler | None = None
        self._signals = SignalHandlers()
        self.unique_name = ""
        """Our unique name, for example `:1.42`."""
        self.names = Names(self)
        """Owners of names, and who hears when they change."""
        self.error: Exception | None = None
        """Why the connection ended; None while it is up or after `close`."""

    @classmethod
    async def open(
        cls,
        address: str | None = None,
        *,
        system: bool = True,
        fds: bool | Callable[[], bool] = False,
    ) -> Connection:
        """Connect to `address`, or to the system (else session) bus; `fds` lets file descriptors pass.

        A function lets them pass out, and in at those times at which it returns True.

        Raises OSError (no bus there, or it refuses us) and ValueError (bad address).
        """
        sock = await connect(address or standard_address(system=system), fds=bool(fds))
        self = cls()
        self._transport = Transport(sock, fds=fds, on_message=self._on_message, on_lost=self._on_lost)
        try:
            [self.unique_name] = await self.call_bus("Hello")
        except BaseException:
            self._transport.end()
            raise
        return self

    # --- calls

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[Any] = (),
        *,
        timeout: float | None = 25.0,  # noqa: ASYNC109
        interactive: bool = False,
        no_auto_start: bool = False,
    ) -> list[Any]:
        """Call a method and return the arguments of the reply, Variants as received.

        `timeout` is in seconds, None for ever.  Raises RemoteError, CallTimeout, and EncodeError
        when `body` does not fit `signature`.  File descriptors in the reply are closed.
        """
        flags = _flags(interactive=interactive, no_auto_start=no_auto_start)
        reply = await self._call(destination, path, interface, member, signature, body, (), timeout, flags)
        reply.close_fds()
        return reply.body

    async def call_fds(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[Any] = (),
        *,
        fds: Sequence[int] = (),
        timeout: float | None = 25.0,  # noqa: ASYNC109
        interactive: bool = False,
        no_auto_start: bool = False,
    ) -> tuple[list[Any], list[int]]:
        """Call a method as `call` does and return (arguments, file descriptors).

        `h` values are indices into the list of descriptors.  Descriptors received are close-on-exec and the
        caller's to close; `fds` to send stay the caller's.
        """
        flags = _flags(interactive=interactive, no_auto_start=no_auto_start)
        reply = await self._call(destination, path, interface, member, signature, body, fds, timeout, flags)
        fds_received = reply.take_fds()
        try:
            return reply.body, fds_received
        except wire.WireError:
            reply.fds = fds_received
            reply.close_fds()
            raise

    async def call_bus(self, member: str, signature: str = "", body: Sequence[Any] = ()) -> list[Any]:
        """Call a method of the bus."""
        return await self.call(BUS_NAME, BUS_PATH, BUS_NAME, member, signature, body)

    async def _call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str,
        body: Sequence[Any],
        fds: Sequence[int],
        seconds: float | None,
        flags: int,
    ) -> wire.Incoming:
        if self._transport.closed:
            raise RemoteError(DISCONNECTED, "not connected")
        serial = self.next_serial()
        data = wire.build(
            wire.CALL, serial, flags=flags, path=path, interface=interface, member=member,
            destination=destination, signature=signature, body=encode(signature, body), fd_count=len(fds),
        )  # fmt: skip
        what = f"{member} of {destination}"
        return await self._pending.wait(serial, what, seconds, partial(self._transport.write, data, fds))

    # --- sending

    def next_serial(self) -> int:
        """Return the serial of the next message, 1 to 2**32 - 1."""
        self._serial = self._serial % 0xFFFFFFFF + 1
        return self._serial

    def send_call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[Any] = (),
        *,
        no_auto_start: bool = False,
    ) -> None:
        """Call a method without waiting for a reply; raises EncodeError."""
        data = wire.build(
            wire.CALL, self.next_serial(),
            flags=wire.NO_REPLY_EXPECTED | _flags(interactive=False, no_auto_start=no_auto_start),
            path=path, interface=interface, member=member, destination=destination, signature=signature,
            body=encode(signature, body),
        )  # fmt: skip
        self._transport.write(data)

    def emit(
        self,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[Any] = (),
        *,
        destination: str | None = None,
    ) -> None:
        """Send a signal, to all listeners or to `destination` alone; raises EncodeError."""
        data = wire.build(
            wire.SIGNAL, self.next_serial(), path=path, interface=interface, member=member,
            destination=destination, signature=signature, body=encode(signature, body),
        )  # fmt: skip
        self._transport.write(data)

    def reply(
        self, call: wire.Incoming, signature: str = "", body: Sequence[Any] = (), fds: Sequence[int] = ()
    ) -> None:
        """Answer a call, unless the caller wants no answer.

        Raises EncodeError and MessageTooLarge, and sends nothing then.
        """
        if not call.wants_reply:
            return
        data = wire.build(
            wire.RETURN, self.next_serial(), flags=wire.NO_REPLY_EXPECTED, reply_serial=call.serial,
            destination=call.sender, signature=signature, body=encode(signature, body), fd_count=len(fds),
        )  # fmt: skip
        self._transport.write(data, fds)

    def reply_error(self, call: wire.Incoming, name: str, text: str) -> None:
        """Answer a call with an error, unless the caller wants no answer."""
        if not call.wants_reply:
            return
        # D-Bus text has neither NUL nor half of a surrogate pair
        text = text.replace("\0", " ").encode(errors="replace").decode()
        data = wire.build(
            wire.ERROR, self.next_serial(), flags=wire.NO_REPLY_EXPECTED, error_name=name,
            reply_serial=call.serial, destination=call.sender, signature="s", body=encode("s", (text,)),
        )  # fmt: skip
        self._transport.write(data)

    async def flush(self) -> None:
        """Wait until the kernel has everything sent so far, or the connection has ended."""
        await self._transport.flush()

    # --- receiving

    def set_call_handler(self, handler: CallHandler, on_room: Callable[[], None] | None = None) -> None:
        """Let `handler` answer incoming method calls; without a handler all fail with UnknownObject.

        `on_room` is called when the connection is congested no more.
        """
        self._call_handler = handler
        self._transport.on_room(on_room)

    def is_congested(self) -> bool:
        """Return whether messages wait to be sent: the bus takes fewer than come."""
        return self._transport.queued > 0

    def add_match(self, rule: str) -> None:
        """Ask for messages by a match rule, without waiting for the bus to agree.

        Counted: as many `remove_match` are needed to end it.
        """
        count = self._rules.get(rule, 0)
        self._rules[rule] = count + 1
        if not count:
            self.send_call(BUS_NAME, BUS_PATH, BUS_NAME, "AddMatch", "s", (rule,))

    def remove_match(self, rule: str) -> None:
        """Take one `add_match` back; unknown rules are ignored."""
        count = self._rules.pop(rule, 0)
        if count > 1:
            self._rules[rule] = count - 1
        elif count:
            self.send_call(BUS_NAME, BUS_PATH, BUS_NAME, "RemoveMatch", "s", (rule,))

    async def add_signal(
        self,
        *,
        sender: str,
        interface: str,
        member: str,
        path: str | None = None,
        arg0: str | None = None,
        callback: Callback,
    ) -> Subscription:
        """Call `callback(*arguments)` for each such signal; raises RemoteError when the bus refuses the rule.

        `sender` is a well-known or unique name.  Only signals of that name's owner count: on the system bus
        anybody may send anybody any signal directly, whatever the match rules say.
        """
        rule = f"type='signal',sender='{sender}',interface='{interface}',member='{member}'"
        rule += f",path='{path}'" if path is not None else ""
        rule += f",arg0='{arg0}'" if arg0 is not None else ""
        is_named = sender != BUS_NAME and not sender.startswith(":")
        watch = self.names.watch(sender, lambda _old, _new: None) if is_named else None
        remove = self._signals.add(interface, member, partial(self._is_from, sender), path, arg0, callback)

        def undo() -> None:
            remove()
            self.send_call(BUS_NAME, BUS_PATH, BUS_NAME, "RemoveMatch", "s", (rule,))
            if watch is not None:
                watch.close()

        try:
            if watch is not None:
                await self.names.settle(sender)
            await self.call_bus("AddMatch", "s", (rule,))
        except BaseException:
            undo()
            raise
        return Subscription(undo)

    def receive(
        self, *, sender: str, interface: str, member: str, path: str | None = None, callback: Callback
    ) -> Subscription:
        """Call `callback(*arguments)` for each such signal sent by `sender` to this connection alone.

        `sender` is a unique name, or a well-known one that is watched. No match rule is asked for: the bus
        delivers what is addressed to us anyhow, and there may be only so many rules.
        """
        is_from = partial(self._is_from, sender)
        return Subscription(self._signals.add(interface, member, is_from, path, None, callback))

    def _is_from(self, sender: str, actual: str | None) -> bool:
        return actual is not None and actual in (sender, self.names.owner(sender))

    def watch_name(self, name: str, callback: Callable[[str, str], None]) -> Subscription:
        """Call `callback(old_owner, new_owner)` when a name changes hands; an empty string is no owner."""
        return self.names.watch(name, callback)

    async def name_owner(self, name: str) -> str | None:
        """Return the unique name of the owner of `name`, None without one; never starts a service.

        What watchers of the name have been told is never newer: a change right behind the bus's answer is
        dealt with before whoever waits for that.
        """
        changes = self.names.changes(name)
        try:
            [owner] = await self.call_bus("GetNameOwner", "s", (name,))
        except RemoteError as error:
            if error.name != "org.freedesktop.DBus.Error.NameHasNoOwner":
                raise
            owner = None
        if self.names.changes(name) != changes:
            return self.names.owner(name)
        return None if owner is None else str(owner)

    def _on_message(self, message: wire.Incoming) -> None:
        try:
            if message.type in (wire.RETURN, wire.ERROR):
                self._pending.answer(message)
                return
            if message.type == wire.CALL:
                self._on_call(message)
            elif message.type == wire.SIGNAL:
                self._on_signal(message)
        except Exception:  # noqa: BLE001
            _throttle.exception("a %s from %s was not handled", message.member or "message", message.sender)
        finally:
            if message.type not in (wire.RETURN, wire.ERROR):
                # nobody took them, and nobody shall fill our table with them
                message.close_fds()

    def _on_call(self, call: wire.Incoming) -> None:
        if self._call_handler is not None:
            self._call_handler(call)
        elif call.interface == _PEER and call.member == "Ping":
            self.reply(call)
        else:
            self.reply_error(call, "org.freedesktop.DBus.Error.UnknownObject", "nothing is served here")

    def _on_signal(self, message: wire.Incoming) -> None:
        if message.sender == BUS_NAME and message.member == "NameOwnerChanged":
            name, old, new = message.body
            self.names.changed(name, old, new)
        self._signals.dispatch(message)

    def _on_lost(self, error: Exception | None) -> None:
        self.error = error
        self._pending.fail_all(error)
        if not self._lost.done():
            self._lost.set_result(None)

    @property
    def connected(self) -> bool:
        """Whether messages can be sent."""
        return not self._transport.closed

    async def wait_for_disconnect(self) -> None:
        """Return when the connection has ended; `error` then says why."""
        await asyncio.shield(self._lost)

    async def close(self) -> None:
        """Send everything queued (for at most 5 s) and disconnect."""
        with suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                await self.flush()
        self._transport.end()


def _flags(*, interactive: bool, no_auto_start: bool) -> int:
    return (wire.ALLOW_INTERACTIVE_AUTHORIZATION if interactive else 0) | (
        wire.NO_AUTO_START if no_auto_start else 0
    )


__all__ = ["BUS_NAME", "BUS_PATH", "CallTimeout", "Connection", "RemoteError"]
