# SPDX-License-Identifier: Apache-2.0
"""A small service for tests and measurements of the bus package."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from missiond.bus.connection import Connection
from missiond.bus.dispatcher import CallLimits
from missiond.bus.interface import Call, Interface
from missiond.bus.introspection import InterfaceSpec, parse
from missiond.bus.server import Server
from missiond.bus.wire.encode import Typed
from missiond.errors import CallerVerificationFailed

NAME = "org.missiond.Agent1"
PATH = "/org/missiond/Agent1"
SAMPLE = "org.missiond.Agent1.Sample"
ITEM = "org.missiond.Agent1.Item"

XML = """\
<node>
  <!-- a comment outside -->
  <interface name="org.missiond.Agent1.Sample">
    <!-- Echo: says it again -->
    <method name="Echo">
      <arg name="text" type="s" direction="in"/>
      <arg name="again" type="s" direction="out"/>
    </method>
    <method name="Swap">
      <arg name="options" type="a{sv}" direction="in"/>
      <arg name="pairs" type="a(us)" direction="in"/>
      <arg name="pairs_out" type="a(us)" direction="out"/>
      <arg name="options_out" type="a{sv}" direction="out"/>
    </method>
    <method name="Hold">
      <arg name="tag" type="s" direction="in"/>
      <arg name="tag_and_sender" type="s" direction="out"/>
    </method>
    <method name="Who">
      <arg name="pid" type="u" direction="out"/>
      <arg name="uid" type="u" direction="out"/>
    </method>
    <method name="Break">
      <arg name="how" type="s" direction="in"/>
      <arg name="number" type="u" direction="out"/>
    </method>
    <method name="BreakLater">
      <arg name="how" type="s" direction="in"/>
      <arg name="number" type="u" direction="out"/>
    </method>
    <method name="Weigh">
      <arg name="first" type="h" direction="in"/>
      <arg name="why" type="s" direction="in"/>
      <arg name="second" type="h" direction="in"/>
      <arg name="bytes" type="t" direction="out"/>
    </method>
    <method name="WeighLater">
      <arg name="file" type="h" direction="in"/>
      <arg name="bytes" type="t" direction="out"/>
    </method>
    <method name="Open">
      <arg name="end" type="h" direction="out"/>
    </method>
    <method name="Take">
      <arg name="which" type="h" direction="in"/>
      <arg name="text" type="s" direction="out"/>
    </method>
    <method name="Silent">
      <annotation name="org.freedesktop.DBus.Deprecated" value="true"/>
    </method>
    <signal name="Happened">
      <arg name="number" type="u"/>
      <arg name="text" type="s"/>
    </signal>
    <property name="Good" type="s" access="read"/>
    <property name="Number" type="u" access="read"/>
    <property name="Fixed" type="s" access="read">
      <annotation name="org.freedesktop.DBus.Property.EmitsChangedSignal" value="const"/>
    </property>
    <property name="Big" type="as" access="read">
      <annotation name="org.freedesktop.DBus.Property.EmitsChangedSignal" value="invalidates"/>
    </property>
    <property name="Quiet" type="t" access="read">
      <annotation name="org.freedesktop.DBus.Property.EmitsChangedSignal" value="false"/>
    </property>
    <property name="Table" type="a{sv}" access="read"/>
  </interface>
  <interface name="org.missiond.Agent1.Item">
    <property name="Id" type="u" access="read"/>
  </interface>
</node>
"""

SPECS: dict[str, InterfaceSpec] = {spec.name: spec for spec in parse(XML)}


class Sample(Interface):
    """Everything a method can do."""

    name = SAMPLE

    def __init__(self) -> None:
        self.values: dict[str, Any] = {
            "Good": "good €",
            "Number": 7,
            "Fixed": "fixed",
            "Big": ["a", "b"],
            "Quiet": 1 << 40,
            "Table": {"inner": Typed("a{sv}", {"x": Typed("u", 5)})},
        }
        self.release = asyncio.Event()
        self.holding = 0
        self.cancelled = 0
        self.silent_calls = 0
        self.fd = -1
        self.to_cancel: list[asyncio.Task[Any] | None] = []

    def properties(self) -> dict[str, Any]:
        return self.values

    def echo(self, _call: Call, text: str) -> str:
        return text

    def swap(self, _call: Call, options: dict[str, Any], pairs: list[Any]) -> tuple[Any, ...]:
        return [tuple(pair) for pair in reversed(pairs)], options

    async def hold(self, call: Call, tag: str) -> str:
        self.holding += 1
        self.to_cancel.append(asyncio.current_task())
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.holding -= 1
        return f"{tag} {call.sender}"

    async def who(self, call: Call) -> tuple[int, int]:
        caller = await call.caller()
        return caller.pid, caller.uid

    def break_(self, call: Call, how: str) -> Any:
        return _break(call, how)

    async def break_later(self, call: Call, how: str) -> Any:
        await asyncio.sleep(0)
        return _break(call, how)

    def weigh(self, call: Call, first: int, _why: str, second: int) -> int:
        return os.fstat(call.lend_fd(first)).st_size + os.fstat(call.lend_fd(second)).st_size

    async def weigh_later(self, call: Call, file: int) -> int:
        fd = call.lend_fd(file)
        self.holding += 1
        await self.release.wait()
        return os.fstat(fd).st_size

    def open(self, _call: Call) -> int:
        return self.fd

    async def take(self, call: Call, which: int) -> str:
        fd = call.take_fd(which)
        await asyncio.sleep(0)
        try:
            return os.pread(fd, 100, 0).decode()
        finally:
            os.close(fd)

    def silent(self, _call: Call) -> None:
        self.silent_calls += 1

    def handler(self, member: str) -> Any:
        return self.break_ if member == "Break" else super().handler(member)


def _break(_call: Call, how: str) -> Any:
    if how == "agent-error":
        raise CallerVerificationFailed("no such request")
    if how == "wrong-result":
        return "not a number"
    if how == "cancelled":
        raise asyncio.CancelledError
    if how == "no-memory":
        raise MemoryError
    if how == "no-memory-lost":
        raise SystemError("returned a result with an exception set") from MemoryError()
    raise KeyError(f"secret of {__file__}")


class Item(Interface):
    """One property."""

    name = ITEM

    def __init__(self, number: int) -> None:
        self.number = number

    def properties(self) -> dict[str, Any]:
        return {"Id": self.number}


class Service:
    """A connection that serves a Sample."""

    def __init__(self, connection: Connection, limits: CallLimits | None = None) -> None:
        self.connection = connection
        self.server = Server(connection, SPECS, PATH, limits)
        self.sample = Sample()
        self.server.add(PATH, self.sample)


@asynccontextmanager
async def running_service(
    address: str, *, fds: bool | Callable[[], bool] = False, limits: CallLimits | None = None
) -> AsyncIterator[Service]:
    """Serve for as long as the block lasts."""
    connection = await Connection.open(address, fds=fds)
    try:
        service = Service(connection, limits)
        await service.server.request_name(NAME)
        yield service
    finally:
        await connection.close()
