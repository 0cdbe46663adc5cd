# SPDX-License-Identifier: Apache-2.0
"""For programs whose mission can go on elsewhere, over a Client.

    async with Client() as agent:
        mission = await Mission.register(agent, label="Counter")
        async with mission.on_continue(lambda request: str(count).encode()):
            ...

and there, first of all: `state = handed_state()`.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Unpack

from missiond.bus.values import unwrap
from missiond.client import Client, Signals
from missiond.client_missions import Description, Missions
from missiond.errors import AgentError
from missiond.remote_errors import AgentUnreachable
from missiond.service.names import DISTRIBUTED_MISSION_MANAGER

INLINE_MAX = 100 * 1024
"""Bytes of state that are sent in a call; more goes as a file."""

_LOGGER = logging.getLogger(__name__)


class ContinueRequest(NamedTuple):
    """The mission is to go on elsewhere."""

    continuation_id: int
    mission_id: int
    device_id: str
    """Where."""
    want_param: dict[str, Any]


State = bytes | BinaryIO | None
"""State, or a file with it that is open for reading; None refuses."""
Callback = Callable[[ContinueRequest], State | Awaitable[State]]


class HandedState(NamedTuple):
    """What this program was handed when it was started to go on; `device_id` is where it was before."""

    state: bytes
    want_param: dict[str, Any]
    device_id: str


def handed_state(environment: Mapping[str, str] | None = None) -> HandedState | None:
    """Return what was handed over; None where this is a start like any other. Raises OSError, ValueError."""
    given = os.environ if environment is None else environment
    device = given.get("MISSIOND_CONTINUED_FROM")
    if device is None:
        return None
    state, want = given.get("MISSIOND_STATE_FILE"), given.get("MISSIOND_WANT_PARAM_FILE")
    return HandedState(
        Path(state).read_bytes() if state else b"",
        json.loads(Path(want).read_bytes()) if want else {},
        device,
    )


class Mission:
    """A mission that this connection has registered, and speaks for."""

    def __init__(self, agent: Client, mission_id: int) -> None:
        self.id = mission_id
        self._agent = agent

    @classmethod
    async def register(cls, agent: Client, **description: Unpack[Description]) -> Mission:
        """Make this program a mission that can go on elsewhere, started as it was started here.

        Raises as Missions.register does.
        """
        description.setdefault("continuable", True)
        description.setdefault("argv", own_command())
        description.setdefault("cwd", str(Path.cwd()))
        return cls(agent, await Missions(agent).register(**description))

    @asynccontextmanager
    async def on_continue(self, callback: Callback) -> AsyncIterator[None]:
        """Answer for as long as the block lasts; an exception of `callback` is logged, and refuses."""
        async with self._agent.signals("ContinueRequested", DISTRIBUTED_MISSION_MANAGER) as requests:
            answering = asyncio.ensure_future(self._answer_all(requests, callback))
            try:
                yield
            finally:
                answering.cancel()
                await asyncio.wait([answering])

    async def _answer_all(self, requests: Signals, callback: Callback) -> None:
        async for arguments in requests:
            request = ContinueRequest(*(unwrap(argument) for argument in arguments))
            if request.mission_id != self.id:
                continue
            try:
                state = callback(request)
                if inspect.isawaitable(state):
                    state = await state
            except Exception:
                _LOGGER.exception("the state of mission %d can't be handed over", self.id)
                state = None
            try:
                await self._provide(request.continuation_id, state)
            except (AgentError, AgentUnreachable) as error:
                _LOGGER.warning("mission %d does not go on elsewhere: %s", self.id, error)

    async def _provide(self, continuation_id: int, state: State) -> None:
        manage = self._agent.manage
        if state is None or (isinstance(state, bytes) and len(state) <= INLINE_MAX):
            body = [continuation_id, state is not None, state or b""]
            await manage(DISTRIBUTED_MISSION_MANAGER, "ProvideContinueState", "ubay", body)
            return
        if isinstance(state, bytes):
            fd = os.memfd_create("state", os.MFD_CLOEXEC)
            with open(fd, "w+b", buffering=0) as file:  # noqa: ASYNC230, PTH123 (memory)
                view = memoryview(state)
                while view:
                    view = view[file.write(view) :]
                await self._provide_file(continuation_id, fd)
        else:
            state.flush()
            await self._provide_file(continuation_id, state.fileno())

    async def _provide_file(self, continuation_id: int, fd: int) -> None:
        body = [continuation_id, True, 0]
        await self._agent.manage(
            DISTRIBUTED_MISSION_MANAGER, "ProvideContinueStateFile", "ubh", body, fds=[fd]
        )


def own_command() -> list[str]:
    """How this program was started, beginning with an absolute path."""
    words = list(sys.orig_argv)
    found = shutil.which(words[0]) or sys.executable
    return [os.path.abspath(found), *words[1:]]  # noqa: PTH100 (links stay as they are)
