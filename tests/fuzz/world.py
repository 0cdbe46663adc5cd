# SPDX-License-Identifier: Apache-2.0
"""A running agent that is called by root (where the tests are run by root) and by another user."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzz.calls import ENDS_PROGRAMS, Call, Owner, Recent
from fuzz.verdict import judge
from missiond import bus_names
from missiond.bus.wire import message
from missiond.bus.wire.encode import Typed
from missiond.bus.wire.signature import split
from standins.agents.process import AgentProcess
from standins.clients.agent_client import AgentClient, agent_client
from standins.clients.other_user import other_user
from standins.programs.running import running
from standins.worlds.scene import Scene, scene_on

PATIENCE = 15.0
"""Seconds for any answer."""
_NOBODYS = 0x8000_0000
_CLEAN_UP = {"transient": "CancelSuspendDelay", "continuous": "CancelContinuousTask"}


@dataclass(frozen=True)
class Held:
    """What the agent has of the host."""

    fds: int
    kilobytes: int


class World:
    """The agent is a process of its own, as on a real host."""

    def __init__(
        self,
        scene: Scene,
        process: AgentProcess,
        clients: dict[bool, AgentClient],
        owners: list[int],
        log: Path,
    ) -> None:
        self.scene = scene
        self.process = process
        self.owners = owners
        self.calls = 0
        self.refused = 0
        self._clients = clients
        self._log = log
        self._last: dict[str, list[int]] = {}

    async def play(self, calls: Sequence[Call], *, pipelined: bool) -> None:
        """Make the calls, judge every answer, and give everything back; raises AssertionError."""
        self._last = {"transient": [], "continuous": [], "mission": []}
        try:
            await self._play(calls, pipelined=pipelined)
            await self._give_back()
        except BaseException:
            await self._forget()  # or what comes next is blamed for answers to these calls
            raise

    async def _play(self, calls: Sequence[Call], *, pipelined: bool) -> None:
        waiting: list[tuple[Call, AgentClient, int]] = []
        wrong: list[str] = []
        for call in calls:
            client = self._clients[call.privileged]
            serial = await self._send(client, call)
            if call.answered:
                waiting.append((call, client, serial))
            if not pipelined:
                wrong += await self._answers(waiting)
                waiting.clear()
        wrong += await self._answers(waiting)
        self.calls += len(calls)
        assert not wrong, "\n".join(wrong)

    async def _send(self, client: AgentClient, call: Call) -> int:
        body = tuple(
            value | _NOBODYS if call.member in ENDS_PROGRAMS and kind == "u" else value
            for kind, value in zip(
                split(call.signature), (self._real(value) for value in call.body), strict=True
            )
        )
        path = call.path if isinstance(call.path, str) else f"{bus_names.MANAGER_PATH}/{call.path.kind}/"
        if isinstance(call.path, Recent):
            path += str(self._id(call.path) or 1)
        raw = client.raw
        frame = raw.frame(path, call.interface, call.member, call.signature, body, flags=call.flags)
        await asyncio.wait_for(raw.send(frame), PATIENCE)
        return raw.serial

    def _real(self, value: Any) -> Any:
        """Put ids and pids in their places."""
        if isinstance(value, dict):
            return {key: self._real(each) for key, each in value.items()}
        if isinstance(value, Typed):
            return Typed(value.signature, self._real(value.value))
        if isinstance(value, Owner):
            return self.owners[value.number % len(self.owners)]
        return self._id(value) if isinstance(value, Recent) else value

    def _id(self, recent: Recent) -> int:
        known = self._last[recent.kind]
        return known[-1 - recent.back % len(known)] if known else recent.back

    async def _answers(self, waiting: list[tuple[Call, AgentClient, int]]) -> list[str]:
        wrong = []
        for call, client, serial in waiting:
            try:
                answer = await asyncio.wait_for(client.message(serial), PATIENCE)
            except TimeoutError:
                wrong.append(f"no answer to {call}")
                continue
            self.refused += answer.type == message.ERROR
            verdict = judge(call, answer)
            if verdict is not None:
                wrong.append(f"{verdict}\n  of {call!r:.600}")
            elif answer.type == message.RETURN:
                self._note(call.member, answer.body)
        return wrong

    def _note(self, member: str, body: list[Any]) -> None:
        if member == "RequestSuspendDelay":
            self._last["transient"].append(body[0])
        elif member == "StartBackgroundRunning":
            self._last["continuous"].append(body[3])
        elif member == "RegisterMission":
            self._last["mission"].append(body[0])

    async def _give_back(self) -> None:
        """End all tasks, take back all registrations, and see that nothing is left of them."""
        for client in self._clients.values():
            await client.settle()
            assert not client.unclaimed, f"answers that nobody asked for: {client.unclaimed}"
            client.signals.clear()
        for path in await self._objects():
            kind, _, last = path.rpartition("/")
            member = _CLEAN_UP[kind.rpartition("/")[2]]
            await asyncio.wait_for(self._clients[True].call(member, int(last)), PATIENCE)
        for number in dict.fromkeys(self._last["mission"]):
            missions = bus_names.DISTRIBUTED_MISSION_MANAGER
            root = self._clients[True]
            serial = await root.start("UnregisterMission", number, interface=missions, signature="u")
            await asyncio.wait_for(root.message(serial), PATIENCE)
        assert await self._objects() == []
        await asyncio.wait_for(self.scene.until_locks(), PATIENCE)
        self.scene.logind.close()

    async def _forget(self) -> None:
        for client in self._clients.values():
            await asyncio.wait_for(client.settle(), PATIENCE)
            client.forget()

    async def _objects(self) -> list[str]:
        """Paths of live tasks; missions of this machine come and go by themselves."""
        objects = await asyncio.wait_for(self._clients[True].objects(), PATIENCE)
        return [path for path in objects if path.split("/")[-2] in _CLEAN_UP]

    def held(self) -> Held:
        """What the process has now."""
        proc = Path(f"/proc/{self.process.pid}")
        status = (proc / "status").read_text().splitlines()
        kilobytes = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
        return Held(len(list((proc / "fd").iterdir())), kilobytes)

    def check(self) -> None:
        """Nothing is left of the tasks, and the log has no tracebacks."""
        assert [self.scene.files(kind) for kind in _CLEAN_UP] == [[], []]
        assert self.scene.store.names == []
        said = self._log.read_text()
        assert "Traceback" not in said, said[-8000:]
        assert "internal error" not in said, said[-8000:]
        assert len(said) < 50_000, "the log is flooded"


@asynccontextmanager
async def world_on(address: str, place: Path) -> AsyncIterator[World]:
    """Bring it up, and end it."""
    async with AsyncExitStack() as stack:
        scene = await stack.enter_async_context(scene_on(address, place))
        process = AgentProcess(scene.environment, place / "log", scene.store)
        stack.callback(process.end)
        await asyncio.wait_for(scene.store.until("READY=1"), PATIENCE)
        owners = [stack.enter_context(running()) for _ in range(2)]
        clients = {
            True: await stack.enter_async_context(agent_client(address)),
            False: await stack.enter_async_context(other_user(address)),
        }
        owners.append(clients[False].pid)
        yield World(scene, process, clients, owners, place / "log")
