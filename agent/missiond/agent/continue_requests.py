# SPDX-License-Identifier: Apache-2.0
"""Asks programs for the state with which they want to go on elsewhere, and takes their answers."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from missiond.agent import state_copies
from missiond.agent.state_copies import NotState, StateFile
from missiond.bus import aside
from missiond.core.missions import Mission
from missiond.errors import ContinueInProgress, DistributedServiceFailed, InvalidParameter

INLINE_MAX = 100 * 1024
"""Bytes of state in an answer; what is longer comes as a file."""

Tell = Callable[[str, int, int, str, dict[str, Any]], None]
"""Send ContinueRequested: to this connection, continuation, mission, device, and what is wanted."""


class Outcome(enum.Enum):
    """What became of a question."""

    AGREED = "agreed"
    REFUSED = "refused"
    SILENT = "no answer in time"
    NOBODY = "nobody to ask"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the program says; with AGREED its state, in `file` (which the taker closes) where it is long."""

    outcome: Outcome
    state: bytes = b""
    file: StateFile | None = None


class Vanishing(Protocol):
    """Word of connections that are gone."""

    def on_vanish(self, name: str, callback: Callable[[], None]) -> Any:  # noqa: ANN401 (has `close`)
        """Call back once when it leaves the bus, soon if it has left already."""
        ...


@dataclass(slots=True, eq=False)
class _Question:
    connection: str
    answer: asyncio.Future[Answer]
    taken: bool = False
    """Whether an answer is being copied."""

    def settle(self, answer: Answer) -> None:
        """Be answered, by whoever comes first."""
        if not self.answer.done():
            self.answer.set_result(answer)
        elif answer.file is not None:
            answer.file.close()


class ContinueRequests:
    """Questions to the connections that registered missions; files are copied to `directory`."""

    def __init__(self, tell: Tell, connections: Vanishing, directory: Path, state_max: int) -> None:
        self.state_max = state_max
        self._tell = tell
        self._connections = connections
        self._directory = directory
        self._questions: dict[int, _Question] = {}

    @property
    def wants_files(self) -> bool:
        """Whether a descriptor may be on its way to us: only then are any taken."""
        return bool(self._questions) and not aside.busy()

    async def ask(
        self,
        mission: Mission,
        continuation_id: int,
        dst_device: str,
        want_param: dict[str, Any],
        seconds: float,
    ) -> Answer:
        """Ask a mission's program, and wait for its answer for so long.

        `want_param` is as ContinueRequested has it, values are variants. Raises ContinueInProgress where that
        continuation is being asked about.
        """
        registration = mission.registration
        if registration is None or not registration.continuable or not registration.connection:
            return Answer(Outcome.NOBODY)
        if continuation_id in self._questions:
            raise ContinueInProgress(f"continuation {continuation_id} is being asked about already")
        question = _Question(registration.connection, asyncio.get_running_loop().create_future())
        self._questions[continuation_id] = question
        gone = self._connections.on_vanish(
            question.connection, lambda: question.settle(Answer(Outcome.NOBODY))
        )
        try:
            self._tell(question.connection, continuation_id, mission.id, dst_device, want_param)
            return await asyncio.wait_for(asyncio.shield(question.answer), seconds)
        except TimeoutError:
            return Answer(Outcome.SILENT)
        finally:
            gone.close()
            del self._questions[continuation_id]
            # an answer that comes from now on has nobody to take it
            question.settle(Answer(Outcome.SILENT))

    def provide(self, sender: str, continuation_id: int, agree: bool, state: bytes) -> None:
        """Take an answer; raises InvalidParameter, after which the question still waits."""
        question = self._find(sender, continuation_id)
        if len(state) > INLINE_MAX:
            raise InvalidParameter(
                f"state of {len(state)} bytes is longer than {INLINE_MAX}; use ProvideContinueStateFile"
            )
        question.settle(Answer(Outcome.AGREED, state) if agree else Answer(Outcome.REFUSED))

    async def provide_file(
        self, sender: str, continuation_id: int, agree: bool, take_fd: Callable[[], int]
    ) -> None:
        """Take an answer whose state is in a file; raises as `provide`, and DistributedServiceFailed."""
        question = self._find(sender, continuation_id)
        fd = take_fd()
        if not agree:
            aside.close_all([fd])
            question.settle(Answer(Outcome.REFUSED))
            return
        question.taken = True
        try:
            file = await aside.aside(
                lambda: state_copies.copy(fd, self._directory, self.state_max), StateFile.close
            )
        except NotState as error:
            raise InvalidParameter(str(error)) from None
        except (OSError, RuntimeError) as error:
            raise DistributedServiceFailed(f"the state can't be kept: {error}; see missiond(8)") from None
        finally:
            question.taken = False
        late = question.answer.done()
        question.settle(Answer(Outcome.AGREED, file=file))
        if late:
            raise InvalidParameter(f"continuation {continuation_id} does not wait any more")

    def _find(self, sender: str, continuation_id: int) -> _Question:
        question = self._questions.get(continuation_id)
        # another's is answered like one that does not exist
        if question is None or question.connection != sender or question.taken or question.answer.done():
            raise InvalidParameter(f"continuation {continuation_id} does not wait for an answer of yours")
        return question
