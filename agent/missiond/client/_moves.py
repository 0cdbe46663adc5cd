# SPDX-License-Identifier: Apache-2.0
"""Moves of missions between hosts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from missiond.bus.library import Variant
from missiond.bus.variants import to_variants
from missiond.bus_names import DISTRIBUTED_MISSION_MANAGER, PEERS
from missiond.client._bus import AgentBus
from missiond.client._errors import Missing, Unreachable
from missiond.client._inbox import Inbox
from missiond.client._missions import MissionInfo
from missiond.client._peers import PeerInfo
from missiond.errors import from_code

_DONE = 2
"""How many arguments ContinueDone has, by which it is told from ContinueProgress."""
_KEYS = {"install": "isFreeInstall"}


@dataclass(frozen=True, slots=True)
class MoveStep:
    """Progress of a move: `done` of `size` bytes of state have arrived (when `installing`, per cent).

    The `text` of the last one says why it failed, or, of the phase `done`, what could not go along.
    """

    phase: str
    done: int
    size: int
    text: str


class Move:
    """Move of a mission: `async for step in move` shows progress, `await move` waits for the end.

    Nothing is asked for before that. Both raise the Error with which it failed, and Unreachable where the
    agent leaves meanwhile; what has begun is then finished by the agents.
    """

    def __init__(
        self,
        bus: AgentBus,
        mission: int | str,
        source: str | None,
        target: str | None,
        options: Mapping[str, object],
    ) -> None:
        self._bus = bus
        self._mission = mission
        self._devices = (source, target)
        self._options = options
        self.id = 0
        """Number of the continuation, once it has begun."""

    def __aiter__(self) -> AsyncIterator[MoveStep]:
        return self._steps()

    def __await__(self) -> Generator[Any, None, MoveStep | None]:
        return self.wait().__await__()

    async def wait(self) -> MoveStep | None:
        """Wait for the end and return the last step; the same as `await`."""
        last = None
        async for step in self._steps():
            last = step
        return last

    async def _steps(self) -> AsyncIterator[MoveStep]:
        bus = self._bus
        with bus.inbox() as inbox:
            text = f"the agent has left the {bus.settings.bus}"
            heard = {
                member: lambda *arguments: inbox.put(arguments)
                for member in ("ContinueProgress", "ContinueDone")
            }
            subscriptions = [
                await bus.subscribe(DISTRIBUTED_MISSION_MANAGER, heard),
                # an agent that is started again would not know of it
                bus.on_leave(lambda: inbox.fail(Unreachable(text, Missing.AGENT))),
            ]
            try:
                self.id = await self._begin()
                async for step in self._heard(inbox):
                    yield step
            finally:
                for subscription in subscriptions:
                    subscription.close()

    async def _begin(self) -> int:
        bus = self._bus
        member = "ContinueMission" if isinstance(self._mission, int) else "ContinueApplication"
        here = (await bus.properties(PEERS))["LocalDeviceId"] if None in self._devices else ""
        source, target = (here if device is None else device for device in self._devices)
        chosen = {_KEYS.get(key, key): value for key, value in self._options.items() if key != "want"}
        own = bus.options(DISTRIBUTED_MISSION_MANAGER, member, chosen)
        want = {**_variants(self._options.get("want")), **own}
        [number] = await bus.call(DISTRIBUTED_MISSION_MANAGER, member, source, target, self._mission, want)
        return int(number)

    async def _heard(self, inbox: Inbox[Any]) -> AsyncIterator[MoveStep]:
        reason = ""
        while True:
            number, *arguments = await inbox.get()
            if number != self.id:
                continue
            if len(arguments) == _DONE - 1:
                raise_for(int(arguments[0]), reason)
                return
            step = MoveStep(*arguments)
            reason = step.text or reason
            yield step


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveInfo:
    """Unfinished move; `role` of this host is source or target, `device_id` the other host."""

    _bus: AgentBus = field(repr=False, compare=False)
    transfer: str
    """Id of the move, the same on both hosts."""
    continuation_id: int
    role: str
    device_id: str
    mission_id: int
    app_id: str
    label: str
    phase: str
    size: int
    """Bytes of state."""
    in_doubt: bool
    """The move waits for the other host, or for people, and the mission may run nowhere."""
    can_reclaim: bool
    """The mission may be taken back on this host."""
    reason: str

    async def reclaim(self) -> None:
        """Take back the mission of a move in doubt, and start the mission here."""
        await self._bus.call(DISTRIBUTED_MISSION_MANAGER, "ReclaimContinuation", self.transfer)

    async def drop(self) -> None:
        """Discard the move; the state is lost here."""
        await self._bus.call(DISTRIBUTED_MISSION_MANAGER, "DropContinuation", self.transfer)


_FIELDS = {name.replace("_", "-"): name for name in MoveInfo.__dataclass_fields__ if not name.startswith("_")}


async def moves(bus: AgentBus) -> list[MoveInfo]:
    """List the unfinished moves of the caller's missions."""
    [rows] = await bus.call(DISTRIBUTED_MISSION_MANAGER, "ListContinuations")
    return [
        MoveInfo(_bus=bus, **{_FIELDS[key]: value for key, value in row.items() if key in _FIELDS})
        for row in rows
    ]


def move(
    bus: AgentBus,
    mission: MissionInfo | int | str,
    to: PeerInfo | str | None,
    origin: PeerInfo | str | None,
    options: Mapping[str, object],
) -> Move:
    """Return a move before the beginning; None of the two devices is this host."""
    source, target = (device.id if isinstance(device, PeerInfo) else device for device in (origin, to))
    if isinstance(mission, MissionInfo):
        return Move(bus, mission.id, mission.device or source, target, options)
    return Move(bus, mission, source, target, options)


def raise_for(code: int, reason: str) -> None:
    """Raise the error of a result code; 0 is none."""
    if code:
        raise from_code(code, reason or "it failed, without a reason; see `journalctl -u missiond`")


def _variants(values: object) -> dict[str, Variant]:
    """Wrap what JSON can express; variants stay as they are."""
    if values is None:
        return {}
    assert isinstance(values, Mapping)
    given = {key: value for key, value in values.items() if isinstance(value, Variant)}
    return {**to_variants({key: value for key, value in values.items() if key not in given}), **given}
