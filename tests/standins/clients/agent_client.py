# SPDX-License-Identifier: Apache-2.0
"""A client of the agent that sees every message: answers, refusals, and signals in their order."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from missiond import bus_names
from missiond.bus.variants import unwrap, variant
from missiond.bus.wire import message as wire
from standins.clients.raw_client import RawClient, raw_client

BUS = "org.freedesktop.DBus"
PROPERTIES = "org.freedesktop.DBus.Properties"
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"
SIGNATURES = {
    "RequestSuspendDelay": "sa{sv}",
    "GetRemainingDelayTime": "u",
    "CancelSuspendDelay": "u",
    "GetTransientTaskInfo": "",
    "StartBackgroundRunning": "asa{sv}",
    "UpdateBackgroundRunning": "asa{sv}",
    "StopBackgroundRunning": "a{sv}",
    "CancelContinuousTask": "u",
    "GetAllContinuousTasks": "b",
    "UpdateDataTransferProgress": "ua{sv}",
}
_TYPES = {"pid": "u", "delay": "u", "value": "u", "want-agent": "a{sv}", "inhibit": "as", "time-out": "u"}


class Refused(Exception):
    """An error reply."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text

    @property
    def code(self) -> int:
        """The number in front of the text."""
        return int(self.text.partition(":")[0])


def options(**values: Any) -> dict[str, Any]:
    """An `a{sv}` with the types of the contract; `_` stands for `-`."""
    found = {}
    for name, value in values.items():
        key = name.replace("_", "-")
        found[key] = variant(_TYPES.get(key, "s"), value)
    return found


class AgentClient:
    """One connection, for one task of the test at a time."""

    def __init__(self, raw: RawClient, pid: int) -> None:
        self.raw = raw
        self.pid = pid
        self.signals: list[wire.Incoming] = []
        """All that came in, oldest first; filled by whatever receives."""
        self._answers: dict[int, wire.Incoming] = {}

    async def listen(self) -> None:
        """Ask for all signals of the agent."""
        await self._ask_bus("AddMatch", "s", (f"type='signal',sender='{bus_names.BUS_NAME}'",))

    async def _ask_bus(self, member: str, signature: str, body: tuple[Any, ...]) -> list[Any]:
        frame = self.raw.frame("/org/freedesktop/DBus", BUS, member, signature, body, destination=BUS)
        serial = self.raw.serial
        await self.raw.send(frame)
        return await self.answer(serial)

    async def start(
        self,
        member: str,
        *arguments: Any,
        path: str = bus_names.MANAGER_PATH,
        interface: str | None = bus_names.BACKGROUND_TASK_MANAGER,
        signature: str | None = None,
        interactive: bool = False,
    ) -> int:
        """Send a call and wait for nothing; the serial for `answer`."""
        flags = wire.ALLOW_INTERACTIVE_AUTHORIZATION if interactive else 0
        takes = SIGNATURES.get(member, "") if signature is None else signature
        frame = self.raw.frame(path, interface, member, takes, arguments, flags=flags)
        serial = self.raw.serial
        await self.raw.send(frame)
        return serial

    async def message(self, serial: int) -> wire.Incoming:
        """Wait for the answer to a call, whatever it is."""
        while serial not in self._answers:
            self._take(await self.raw.receive())
        return self._answers.pop(serial)

    @property
    def unclaimed(self) -> list[str]:
        """Answers of the agent that nobody has waited for.

        The bus itself answers what its policy refuses, also where no answer was wanted.
        """
        return [
            f"{answer.sender} to call {serial}: {answer.error_name or answer.signature!r}"
            for serial, answer in sorted(self._answers.items())
            if answer.sender != BUS
        ]

    def forget(self) -> None:
        """Drop what came in so far and was not looked at."""
        self._answers.clear()
        self.signals.clear()

    async def answer(self, serial: int) -> list[Any]:
        """Wait for the answer to a call; raises Refused."""
        reply = await self.message(serial)
        if reply.type == wire.ERROR:
            raise Refused(reply.error_name or "", str(reply.body[0]) if reply.body else "")
        return list(reply.body)

    def _take(self, message: wire.Incoming) -> None:
        if message.type == wire.SIGNAL:
            if message.interface != BUS:
                self.signals.append(message)
        elif message.reply_serial is not None:
            self._answers[message.reply_serial] = message

    async def call(self, member: str, *arguments: Any, **how: Any) -> list[Any]:
        """Call a method; its results. Raises Refused."""
        return await self.answer(await self.start(member, *arguments, **how))

    async def request(self, reason: str = "upload", **chosen: Any) -> tuple[int, int]:
        """RequestSuspendDelay."""
        request_id, delay = await self.call("RequestSuspendDelay", reason, options(**chosen))
        return request_id, delay

    async def begin(self, *modes: str, **chosen: Any) -> int:
        """StartBackgroundRunning; the id."""
        found = await self.call("StartBackgroundRunning", list(modes) or ["dataTransfer"], options(**chosen))
        return int(found[3])

    async def refused(self, member: str, *arguments: Any, **how: Any) -> Refused:
        """Call a method that must fail; how it did."""
        try:
            answer = await self.call(member, *arguments, **how)
        except Refused as error:
            return error
        raise AssertionError(f"{member} answered {answer}")

    async def properties(self, path: str, interface: str) -> dict[str, Any]:
        """GetAll."""
        [found] = await self.call("GetAll", interface, path=path, interface=PROPERTIES, signature="s")
        values: dict[str, Any] = unwrap(found)
        return values

    async def manager(self) -> dict[str, Any]:
        """Properties of the agent."""
        return await self.properties(bus_names.MANAGER_PATH, bus_names.MANAGER)

    async def objects(self) -> dict[str, Any]:
        """GetManagedObjects."""
        [found] = await self.call("GetManagedObjects", interface=OBJECT_MANAGER)
        objects: dict[str, Any] = unwrap(found)
        return objects

    async def settle(self) -> None:
        """Return once everything that the agent has said so far is in `signals`."""
        await self.call("Ping", interface="org.freedesktop.DBus.Peer")

    async def until(self, member: str, *body: Any) -> wire.Incoming:
        """Wait for such a signal (the first values of its body given), past or coming."""
        seen = 0
        while True:
            for message in self.signals[seen:]:
                if message.member == member and unwrap(message.body)[: len(body)] == list(body):
                    return message
            seen = len(self.signals)
            self._take(await self.raw.receive())

    async def until_property(self, path: str, name: str, wanted: Callable[[Any], bool]) -> None:
        """Wait for PropertiesChanged to tell of such a value."""
        seen = 0
        while True:
            for message in self.signals[seen:]:
                if message.member == "PropertiesChanged" and message.path == path:
                    changed = unwrap(message.body[1])
                    if name in changed and wanted(changed[name]):
                        return
            seen = len(self.signals)
            self._take(await self.raw.receive())

    def heard(self, *members: str) -> list[tuple[Any, ...]]:
        """Signals with these names so far: (member, arguments...)."""
        return [(m.member, *unwrap(m.body)) for m in self.signals if m.member in members]


@asynccontextmanager
async def agent_client(address: str, *, listening: bool = False) -> AsyncIterator[AgentClient]:
    """Connect from this very process for as long as the block lasts."""
    async with raw_client(address) as raw:
        client = AgentClient(raw, os.getpid())
        if listening:
            await client.listen()
        yield client
