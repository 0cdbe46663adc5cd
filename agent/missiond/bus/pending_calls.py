# SPDX-License-Identifier: Apache-2.0
"""Calls of ours with replies to come, and the errors in place of a reply."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from missiond.bus.wire import message

BUS_NAME = "org.freedesktop.DBus"
BUS_PATH = "/org/freedesktop/DBus"
DISCONNECTED = "org.freedesktop.DBus.Error.Disconnected"


class PendingCalls:
    """Replies by serial."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._futures: dict[int, asyncio.Future[message.Incoming]] = {}

    def __len__(self) -> int:
        return len(self._futures)

    async def wait(
        self, serial: int, what: str, seconds: float | None, send: Callable[[], None]
    ) -> message.Incoming:
        """Send the call and return the reply, now owner of the received file descriptors.

        Raises RemoteError and CallTimeout (after `seconds`; None is for ever).
        """
        future: asyncio.Future[message.Incoming] = self._loop.create_future()
        self._futures[serial] = future
        timer = self._loop.call_later(seconds, _time_out, future, what) if seconds is not None else None
        try:
            send()
            reply = await future
        except BaseException:
            # cancelled in the very turn in which the reply came
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result().close_fds()
            raise
        finally:
            self._futures.pop(serial, None)
            if timer is not None:
                timer.cancel()
        if reply.type == message.ERROR:
            reply.close_fds()
            by_service = reply.sender not in (None, BUS_NAME)
            raise RemoteError(reply.error_name or "", _text(reply), by_service=by_service)
        return reply

    def answer(self, reply: message.Incoming) -> None:
        """Take in a reply; dropped where nobody waits any more."""
        future = self._futures.get(reply.reply_serial or 0)
        if future is None or future.done():
            reply.close_fds()
        else:
            future.set_result(reply)

    def fail_all(self, error: Exception | None) -> None:
        """Fail every call: the connection has ended."""
        for future in self._futures.values():
            if not future.done():
                future.set_exception(RemoteError(DISCONNECTED, str(error or "closed")))


def _time_out(future: asyncio.Future[message.Incoming], what: str) -> None:
    if not future.done():
        future.set_exception(CallTimeout(f"{what}: no reply"))


def _text(reply: message.Incoming) -> str:
    """Text of an error reply; it need not have one."""
    if not reply.signature.startswith("s") or reply.truncated:
        return ""
    return str(reply.body[0])


class RemoteError(Exception):
    """An error reply: `name` is the D-Bus error name, `text` the message (may be empty).

    A lost or closed connection is `org.freedesktop.DBus.Error.Disconnected`. `by_service` is whether somebody
    else than the bus said so: services pass on what they are told themselves, so that its own errors, such as
    NameHasNoOwner, say nothing of a service that answers with them.
    """

    def __init__(self, name: str, text: str = "", *, by_service: bool = False) -> None:
        super().__init__(f"{name}: {text}" if text else name)
        self.name = name
        self.text = text
        self.by_service = by_service


class CallTimeout(Exception):
    """No reply in time; a later one is dropped, and the file descriptors closed."""
