# SPDX-License-Identifier: Apache-2.0
"""Programs with a continuable mission: requests for state at the source, the state at the target."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from missiond.bus_names import DISTRIBUTED_MISSION_MANAGER
from missiond.client._bus import AgentBus
from missiond.client._inbox import Inbox
from missiond.client._missions import Description, OwnMissions
from missiond.core.launch.description import MAX_LIST
from missiond.core.launch.environment import captured
from missiond.errors import Error, Invalid
from missiond.working_directory import working_directory

INLINE_MAX = 100 * 1024
"""Largest state in bytes for a call; a larger state goes as a file."""

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """Request to continue on the device `device_id`; `want_param` is for the new process."""

    continuation_id: int
    mission_id: int
    device_id: str
    want_param: dict[str, Any]


State = bytes | BinaryIO | None
"""State, or a file open for reading; None refuses."""
OnMove = Callable[[MoveRequest], State | Awaitable[State]]


@dataclass(frozen=True, slots=True)
class HandedState:
    """State for the continued program; `device_id` is the source."""

    state: bytes
    want_param: dict[str, Any]
    device_id: str


def handed_state(environment: Mapping[str, str] | None = None) -> HandedState | None:
    """Return the state from the source, or None after an ordinary start. Raises OSError, ValueError."""
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


class ContinuableMission:
    """The mission of this program; `async with agent.continuable(...) as mission` makes one.

    `on_move` is called with a MoveRequest and returns the state, or a coroutine that does; None refuses, and
    so does an exception, which is logged. While there is no `on_move`, requests wait for one.
    """

    def __init__(self, bus: AgentBus, description: Description, on_move: OnMove | None = None) -> None:
        self._bus = bus
        self._missions = OwnMissions(bus)
        self._description = description
        self._on_move = on_move
        self._waiting = asyncio.Event()
        self._answering: asyncio.Future[None] | None = None
        self._open = contextlib.ExitStack()
        self.id = 0

    @property
    def on_move(self) -> OnMove | None:
        """Function from a MoveRequest to the state."""
        return self._on_move

    @on_move.setter
    def on_move(self, callback: OnMove | None) -> None:
        self._on_move = callback
        if callback is not None:
            self._waiting.set()

    async def __aenter__(self) -> ContinuableMission:
        description = Description(**self._description)
        description.setdefault("continuable", True)
        description.setdefault("argv", own_command())
        description.setdefault("cwd", working_directory())
        self._description = description
        with contextlib.ExitStack() as stack:
            inbox = stack.enter_context(self._bus.inbox())
            heard = lambda *arguments: inbox.put(MoveRequest(*arguments))  # noqa: E731
            requests = await self._bus.subscribe(DISTRIBUTED_MISSION_MANAGER, {"ContinueRequested": heard})
            stack.callback(requests.close)
            self.id = await self._missions.register(**description)
            again = self._bus.on_return(lambda: self._bus.begin(self._register_again()))
            stack.callback(again.close)
            self._answering = asyncio.ensure_future(self._answer_all(inbox))
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
        if self._answering is not None:
            self._answering.cancel()
            await asyncio.wait([self._answering])
        if self._bus.is_open:
            with contextlib.suppress(Error):  # it ends with the process anyhow
                await self._missions.unregister(self.id)

    async def _register_again(self) -> None:
        """Be known to an agent that was started again, too; one that remembers gives the same id."""
        self.id = await self._missions.register(**self._description)

    async def _answer_all(self, inbox: Inbox[MoveRequest]) -> None:
        with contextlib.suppress(Error):  # the connection has ended
            while True:
                request = await inbox.get()
                if request.mission_id == self.id:
                    await self._answer(request)

    async def _answer(self, request: MoveRequest) -> None:
        try:
            while (callback := self._on_move) is None:
                self._waiting.clear()
                await self._waiting.wait()
            state = callback(request)
            if inspect.isawaitable(state):
                state = await state
        except Exception:
            _LOGGER.exception("the state of mission %d can't be handed over", self.id)
            state = None
        try:
            await self._provide(request.continuation_id, state)
        except (Error, OSError) as error:
            _LOGGER.warning("mission %d does not continue elsewhere: %s", self.id, error)
            with contextlib.suppress(Error):  # it may not wait any more
                await self._provide(request.continuation_id, None)

    async def _provide(self, continuation_id: int, state: State) -> None:
        if state is None or (isinstance(state, bytes) and len(state) <= INLINE_MAX):
            await self._bus.call(
                DISTRIBUTED_MISSION_MANAGER,
                "ProvideContinueState",
                continuation_id,
                state is not None,
                state or b"",
            )
        elif isinstance(state, bytes):
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
        await self._bus.call(
            DISTRIBUTED_MISSION_MANAGER, "ProvideContinueStateFile", continuation_id, True, 0, fds=[fd]
        )


def own_command() -> list[str]:
    """Return how this program was started, beginning with an absolute path."""
    words = list(sys.orig_argv)
    found = shutil.which(words[0]) or sys.executable
    return [os.path.abspath(found), *words[1:]]  # noqa: PTH100 (links stay as they are)


def description_of(
    program: str, arguments: Sequence[str], *, pid: int, label: str, can_move: bool = False
) -> Description:
    """Describe a running program for `missions.register`, as far as the bus can express the words.

    `can_move`: it may be started again on another host, though it hands over no state; then what can't be
    expressed is Invalid, and there has to be a working directory (OSError).
    """
    described = Description(pid=pid, label=label)
    if can_move:
        argv = [os.path.abspath(program), *arguments]  # noqa: PTH100 (links stay as they are)
        directory = working_directory()
        if not all(map(_is_text, argv)):
            raise Invalid("its arguments are not all Unicode text")
        if not _is_text(directory):
            raise Invalid("the name of its directory is no Unicode text")
        more = Description(argv=argv, cwd=directory, environment=captured(os.environ), relaunch=True)
        return {**described, **more}
    argv = [word.encode(errors="replace").decode() for word in (program, *arguments)]
    if sum(len(word.encode()) + 1 for word in argv) <= MAX_LIST:
        described["argv"] = argv
    with contextlib.suppress(OSError):  # deleted, or below one that may not be read
        directory = working_directory()
        if _is_text(directory):
            described["cwd"] = directory
    return described


def _is_text(word: str) -> bool:
    """Whether it has no bytes that are no Unicode text, which Python has as halves of surrogate pairs."""
    return word == word.encode(errors="replace").decode()
