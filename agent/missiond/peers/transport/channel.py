# SPDX-License-Identifier: Apache-2.0
"""A TLS connection with messages in frames, and all connections of a unit."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Iterable
from typing import Any, Protocol

from missiond.peers.transport.certificate import device_id
from missiond.peers.transport.frames import LIMIT, FrameError, FrameReader, frame

FRAME_SECONDS = 30.0
"""Time limit of an unfinished frame."""
SHUTDOWN_SECONDS = 3.0
"""Time for the other side to take queued bytes and to say goodbye, when this side closes."""
GOODBYE_SECONDS = 0.5
"""For all other sides to say goodbye, when the unit ends."""
_QUEUE_HIGH, _QUEUE_LOW = 65536, 16384
_QUEUE_MOST = 2 * LIMIT
_BULK = 256 * 1024
SHARE = 0.25
"""Part of a processor for the messages of one peer; up to a second's worth is saved up."""
_SAVED = 1.0


ENDING = "shutting down"
"""The reason for every end when the unit ends."""


class ChannelOwner(Protocol):
    """The owner of a channel; called from the loop, `lost` once and last."""

    def message(self, data: bytes) -> None:
        """Take in a message."""

    def writable(self, *, now: bool) -> None:
        """Note room for more messages, or none."""

    def lost(self, reason: str, *, broken: bool) -> None:
        """Note the end; `broken` where the other side broke the rules."""


class Channels:
    """The connections of one unit: dials under way, and channels until the close of the socket."""

    def __init__(self) -> None:
        self.closed = False
        self._open: set[Channel] = set()
        self._dials: set[asyncio.Future[Any]] = set()
        self._none = asyncio.Event()
        self._none.set()

    def opened(self, channel: Channel) -> None:
        """Take in a channel after the handshake; one too late is cut off."""
        self._open.add(channel)
        self._none.clear()
        if self.closed:
            channel.cut_off(ENDING)

    def gone(self, channel: Channel) -> None:
        """Forget a channel with a closed socket."""
        self._open.discard(channel)
        if not self._open:
            self._none.set()

    def dialled(self, attempts: Iterable[asyncio.Future[Any]]) -> None:
        """Take in attempts to connect, cancelled by `close`."""
        for attempt in attempts:
            self._dials.add(attempt)
            attempt.add_done_callback(self._dials.discard)

    async def close(self) -> None:
        """Give up dials and close channels; channels without a goodbye after 0.5 s are cut off."""
        self.closed = True
        dials = list(self._dials)
        for attempt in dials:
            attempt.cancel()
        await asyncio.gather(*dials, return_exceptions=True)
        for channel in list(self._open):
            channel.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._none.wait()
        for channel in list(self._open):
            channel.cut_off(ENDING)
        await self._none.wait()


class Channel(asyncio.Protocol):
    """Reads nothing without an owner; the queue for sending is bounded."""

    def __init__(self, channels: Channels, limit: int = LIMIT) -> None:
        self._channels = channels
        self._reader = FrameReader(limit)
        self._transport: asyncio.Transport | None = None
        self._owner: ChannelOwner | None = None
        self._unfinished: asyncio.TimerHandle | None = None
        self._bulk = False
        self._end: tuple[str, bool] | None = None
        self._saved, self._since = _SAVED, 0.0
        """Seconds of work that may still be done for it, and when that was so."""
        self._resting: asyncio.TimerHandle | None = None
        self.certificate: bytes | None = None
        """What the other side proved to have (DER), None from a client that showed none."""
        self.host = ""
        """IP address of the other side."""

    @property
    def device_id(self) -> str:
        """Of the other side; empty for a stranger."""
        return device_id(self.certificate) if self.certificate is not None else ""

    @property
    def open(self) -> bool:
        """Whether anything can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def attach(self, owner: ChannelOwner) -> None:
        """Begin to read, for `owner`."""
        self._owner = owner
        if self._transport is not None:
            self._transport.resume_reading()
        elif self._end is not None:
            asyncio.get_running_loop().call_soon(lambda: self._tell_lost(*(self._end or ("", False))))

    def limit(self, most: int) -> None:
        """Take messages of at most so many bytes from now on."""
        self._reader.limit = most

    def expect_bulk(self, *, bulk: bool) -> None:
        """Read in large pieces, or in small ones, as memory for a thousand idle channels requires.

        asyncio has no public means for that; where its parts have other names, pieces stay small.
        """
        if bulk == self._bulk:
            return
        self._bulk = bulk
        protocol: Any = getattr(self._transport, "_ssl_protocol", None)
        if hasattr(protocol, "_ssl_buffer") and hasattr(protocol, "max_size"):
            protocol.max_size = _BULK if bulk else type(protocol).max_size
            if not bulk:
                # made anew, and small, when there is something to read
                protocol._ssl_buffer = bytearray()
                protocol._ssl_buffer_view = memoryview(protocol._ssl_buffer)

    def send(self, *parts: bytes | memoryview) -> None:
        """Send one message; nothing happens once the channel is closed."""
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(frame(*parts))
        if self._transport.get_write_buffer_size() > _QUEUE_MOST:
            self.cut_off("it takes nothing")

    def close(self) -> None:
        """End the channel after all queued bytes, within three seconds."""
        # closed twice, asyncio's transport can't be aborted any more
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()

    def cut_off(self, reason: str, *, broken: bool = False) -> None:
        """End the channel at once."""
        self._end = self._end or (reason, broken)
        if self._transport is not None:
            self._transport.abort()

    # --- from asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection over after the handshake."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.pause_reading()
        transport.set_write_buffer_limits(_QUEUE_HIGH, _QUEUE_LOW)
        tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
        self.certificate = tls.getpeercert(binary_form=True)
        self.host = (transport.get_extra_info("peername") or ("",))[0]
        self._channels.opened(self)

    def data_received(self, data: bytes) -> None:
        """Cut the bytes into messages."""
        try:
            messages = self._reader.feed(data)
        except FrameError as error:
            self.cut_off(str(error), broken=True)
            return
        begun = time.monotonic()
        for message in messages:
            if self._end is None and self._owner is not None:
                self._owner.message(message)
        self._spend(begun, time.monotonic())
        self._watch_unfinished(progress=bool(messages))

    def _spend(self, begun: float, now: float) -> None:
        """Read nothing for a while from who makes work without end; a state that is expected is not that."""
        self._saved = min(_SAVED, self._saved + SHARE * (begun - self._since))
        self._since = begun
        if self._bulk:
            return
        self._saved -= now - begun
        if self._saved < 0 and self._resting is None and self.open:
            assert self._transport is not None
            self._transport.pause_reading()
            self._resting = asyncio.get_running_loop().call_later(-self._saved / SHARE, self._rested)

    def _rested(self) -> None:
        self._resting = None
        if self.open:
            assert self._transport is not None
            self._transport.resume_reading()

    def _watch_unfinished(self, *, progress: bool) -> None:
        """Half a message must not be kept for ever."""
        if self._unfinished is not None and (progress or not self._reader.unfinished):
            self._unfinished.cancel()
            self._unfinished = None
        if self._unfinished is None and self._reader.unfinished and self._end is None:
            loop = asyncio.get_running_loop()
            self._unfinished = loop.call_later(FRAME_SECONDS, self._cut_short)

    def _cut_short(self) -> None:
        self.cut_off("a frame that does not end", broken=True)

    def pause_writing(self) -> None:
        """Tell the owner of a full queue."""
        if self._owner is not None:
            self._owner.writable(now=False)

    def resume_writing(self) -> None:
        """Tell the owner of room in the queue."""
        if self._owner is not None:
            self._owner.writable(now=True)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the owner of the end."""
        self._transport = None
        self._channels.gone(self)
        if self._unfinished is not None:
            self._unfinished.cancel()
            self._unfinished = None
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        self._end = self._end or (_reason(error), False)
        if self._owner is not None:
            self._tell_lost(*self._end)

    def _tell_lost(self, reason: str, broken: bool) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.lost(reason, broken=broken)


def _reason(error: Exception | None) -> str:
    if error is None:
        return "it closed the connection"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or 'failed').replace('_', ' ').lower()}"
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__
