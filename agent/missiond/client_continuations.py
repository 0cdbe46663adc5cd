# SPDX-License-Identifier: Apache-2.0
"""Have missions go on on another host, over a Client.

    async with Client() as agent:
        continuations = Continuations(agent)
        async with continuations.news() as news:
            asked = await continuations.start(here, there, 7)
            async for progress in news.of(asked): print(progress.phase)

Methods raise as those of Client do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from missiond.bus.values import unwrap, variant
from missiond.client import Client, Signals
from missiond.remote_errors import agent_error
from missiond.service.names import DISTRIBUTED_MISSION_MANAGER

_DONE = 2
"""How many arguments ContinueDone has, by which it is told from ContinueProgress."""


class Progress(NamedTuple):
    """How far one is; `done` of `size` bytes of state have arrived. The last `text` says why it failed.

    In the phase `installing`, `done` is per cents, of 100.
    """

    phase: str
    done: int
    size: int
    text: str


class InFlight(NamedTuple):
    """A hand-over that is not over; `role` of this host is source or target, `device_id` the other host."""

    transfer: str
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
    """It waits for the other host, or for people, and the mission may run nowhere."""
    can_reclaim: bool
    """It may be taken back on this host."""
    reason: str


class News:
    """What is told of continuations from the moment of entering; for one reader."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals

    async def of(self, continuation_id: int) -> AsyncIterator[Progress]:
        """Tell how far it is until it is done.

        Raises the AgentError of the code with which it failed, with the reason as its text, and
        AgentUnreachable where the agent goes away meanwhile.
        """
        reason = ""
        async for arguments in self._signals:
            if arguments[0] != continuation_id:
                continue
            if len(arguments) == _DONE:
                raise_for(int(arguments[1]), reason)
                return
            progress = Progress(*arguments[1:])
            reason = progress.text or reason
            yield progress


class Continuations:
    """Those of this host."""

    def __init__(self, agent: Client) -> None:
        self._agent = agent

    async def start(
        self,
        source: str,
        target: str,
        mission: int | str,
        *,
        keep_source: bool = False,
        free_install: bool = False,
        want: dict[str, Any] | None = None,
    ) -> int:
        """Have a mission (its number, or its application's id) of `source` go on on `target`; an id for news.

        One of the two devices is this host. `want`, of variants, is for the new process. `keep_source`: it
        also goes on where it was. `free_install`: a missing program may be installed first.
        """
        given = dict(want or {})
        if keep_source:
            given["keep-source"] = variant("b", True)
        if free_install:
            given["isFreeInstall"] = variant("b", True)
        member, signature = (
            ("ContinueMission", "ssua{sv}")
            if isinstance(mission, int)
            else ("ContinueApplication", "sssa{sv}")
        )
        (continuation_id,) = await self._call(member, signature, source, target, mission, given)
        return int(continuation_id)

    async def in_flight(self) -> list[InFlight]:
        """Return those that are not over, and are the caller's to see."""
        (rows,) = await self._call("ListContinuations", "")
        return [_in_flight(unwrap(row)) for row in rows]

    async def reclaim(self, transfer: str) -> None:
        """Take one back that is in doubt: from now on its mission is this host's again, and started here."""
        await self._call("ReclaimContinuation", "s", transfer)

    async def drop(self, transfer: str) -> None:
        """Give one up; its state is lost here."""
        await self._call("DropContinuation", "s", transfer)

    @asynccontextmanager
    async def news(self) -> AsyncIterator[News]:
        """Hear of what this connection asks for in the block."""
        async with self._agent.signals(
            "ContinueProgress",
            DISTRIBUTED_MISSION_MANAGER,
            also=[("ContinueDone", DISTRIBUTED_MISSION_MANAGER, None)],
            until_gone=True,
        ) as signals:
            yield News(signals)

    async def _call(self, member: str, signature: str, *arguments: object) -> list[Any]:
        return await self._agent.manage(DISTRIBUTED_MISSION_MANAGER, member, signature, arguments)


def raise_for(code: int, reason: str) -> None:
    """Raise the error that a result code stands for; 0 is none."""
    if code:
        raise agent_error(code, reason or "it failed, without a reason; see `journalctl -u missiond`")


def _in_flight(row: dict[str, Any]) -> InFlight:
    return InFlight(**{name.replace("-", "_"): value for name, value in row.items() if name in _KEYS})


_KEYS = frozenset(name.replace("_", "-") for name in InFlight._fields)
