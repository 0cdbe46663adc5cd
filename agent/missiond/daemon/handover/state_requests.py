# SPDX-License-Identifier: Apache-2.0
"""Questions to programs for the state to continue with elsewhere, and the answers."""

from __future__ import annotations

import asyncio
import enum
import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from missiond.bus.callers import Callers
from missiond.common import blocking_io
from missiond.core.missions.missions import Mission
from missiond.errors import ContinueInProgress, DistributedServiceFailed, InvalidParameter
from missiond.store import checksum as digests
from missiond.store.safe_files import write_all

_CHUNK = 1 << 20


class NotState(Exception):
    """A file unfit as state; the text tells the program why."""


class TooLong(NotState):
    """A state longer than the limit."""


@dataclass(frozen=True, slots=True)
class StateFile:
    """A regular file without a name, open for reading and writing; to be closed by the taker."""

    fd: int
    size: int
    sha256: str

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)


def copy(source: int, directory: Path, most: int) -> StateFile:
    """Copy all of a regular file to the file system of `directory`; closes `source`.

    To be called in a thread: the file's own file system may take its time. Raises NotState, and OSError where
    it can't be kept here.
    """
    try:
        return _copy(source, directory, most)
    finally:
        os.close(source)


def _copy(source: int, directory: Path, most: int) -> StateFile:
    if not stat.S_ISREG(os.fstat(source).st_mode):
        raise NotState(
            "state is handed over as a regular file or as memory (memfd_create(2)), and as nothing else"
        )
    target = _nameless(directory)
    try:
        size, sha256 = _fill(target, source, most)
    except BaseException:
        os.close(target)
        raise
    return StateFile(target, size, sha256)


def _fill(target: int, source: int, most: int) -> tuple[int, str]:
    """Copy, with the checksum of what was copied, which a thread of its own makes meanwhile."""
    from concurrent.futures import Future, ThreadPoolExecutor  # noqa: PLC0415  (an agent at rest does without)

    digest = digests.sha256()
    size = 0
    rooms = [bytearray(_CHUNK), bytearray(_CHUNK)]
    with ThreadPoolExecutor(1, "digest") as thread:
        taken: Future[None] | None = None
        while count := _read(source, rooms[0], size):
            size += count
            if size > most:
                raise TooLong(
                    f"the state is longer than {most} bytes; see [Continue] StateMax= in missiond.conf(5)"
                )
            if taken is not None:
                taken.result()
            with memoryview(rooms[0]) as room:
                taken = thread.submit(_update, digest, room[:count])
                write_all(target, room[:count])
            rooms.reverse()
    return size, digest.hexdigest()


def _update(digest: digests.Checksum, data: memoryview) -> None:
    with data:
        digest.update(data)


def _read(source: int, room: bytearray, at: int) -> int:
    try:
        return os.preadv(source, [room], at)
    except OSError as error:
        raise NotState(
            f"the file with the state can't be read: {error.strerror}; open it for reading"
        ) from None


def _nameless(directory: Path) -> int:
    """Open a file that is gone with its last descriptor; raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    import tempfile  # noqa: PLC0415 (much comes with it that is not needed at rest)

    fd, name = tempfile.mkstemp(dir=directory)
    os.unlink(name)  # noqa: PTH108 (a text)
    return fd


INLINE_MAX = 100 * 1024
"""Bytes of state in an answer; longer ones come as a file."""

Tell = Callable[[str, int, int, str, dict[str, Any]], None]
"""Send ContinueRequested: connection, continuation, mission, device, wants."""


class Outcome(enum.Enum):
    """The kinds of answers."""

    AGREED = "agreed"
    REFUSED = "refused"
    SILENT = "no answer in time"
    NOBODY = "nobody to ask"


@dataclass(frozen=True, slots=True)
class StateAnswer:
    """The program's answer; with AGREED a state, in `file` (to be closed by the taker) where long."""

    outcome: Outcome
    state: bytes = b""
    file: StateFile | None = None
    reason: str = ""
    """With REFUSED: the agent's objection to the program's answer, for people."""


@dataclass(slots=True, eq=False)
class _Question:
    connection: str
    answer: asyncio.Future[StateAnswer]
    taken: bool = False
    """Whether an answer is being copied."""

    def settle(self, answer: StateAnswer) -> None:
        """Be answered, by whoever comes first."""
        if not self.answer.done():
            self.answer.set_result(answer)
        elif answer.file is not None:
            answer.file.close()


class StateRequests:
    """Questions to the connections of registered missions; files are copied to `directory`."""

    def __init__(
        self, tell: Tell, connections: Callers, directory: Path, state_max: Callable[[], int]
    ) -> None:
        self._state_max = state_max
        self._tell = tell
        self._connections = connections
        self._directory = directory
        self._questions: dict[int, _Question] = {}

    @property
    def wants_files(self) -> bool:
        """Whether a descriptor may be on the way here: only then are any taken."""
        return bool(self._questions) and not blocking_io.busy()

    async def ask(
        self,
        mission: Mission,
        continuation_id: int,
        dst_device: str,
        want_param: dict[str, Any],
        seconds: float,
    ) -> StateAnswer:
        """Ask a mission's program, and wait for the answer at most `seconds`.

        `want_param` is as ContinueRequested has it, values are variants. Raises ContinueInProgress where that
        continuation is being asked about.
        """
        registration = mission.registration
        if registration is None or not registration.continuable or not registration.connection:
            return StateAnswer(Outcome.NOBODY)
        if continuation_id in self._questions:
            raise ContinueInProgress(f"continuation {continuation_id} is being asked about already")
        question = _Question(registration.connection, asyncio.get_running_loop().create_future())
        self._questions[continuation_id] = question
        gone = self._connections.on_vanish(
            question.connection, lambda: question.settle(StateAnswer(Outcome.NOBODY))
        )
        try:
            self._tell(question.connection, continuation_id, mission.id, dst_device, want_param)
            async with asyncio.timeout(seconds):
                return await asyncio.shield(question.answer)
        except TimeoutError:
            return StateAnswer(Outcome.SILENT)
        finally:
            gone.close()
            del self._questions[continuation_id]
            # an answer that comes from now on has nobody to take it
            question.settle(StateAnswer(Outcome.SILENT))

    def provide(self, sender: str, continuation_id: int, agree: bool, state: bytes) -> None:
        """Take an answer; raises InvalidParameter, with the question left open."""
        question = self._find(sender, continuation_id)
        if len(state) > INLINE_MAX:
            raise InvalidParameter(
                f"state of {len(state)} bytes is longer than {INLINE_MAX}; use ProvideContinueStateFile"
            )
        question.settle(StateAnswer(Outcome.AGREED, state) if agree else StateAnswer(Outcome.REFUSED))

    async def provide_file(
        self, sender: str, continuation_id: int, agree: bool, take_fd: Callable[[], int]
    ) -> None:
        """Take an answer with the state in a file; raises as `provide`, and DistributedServiceFailed.

        A state that is too long, or can't be kept, ends the question: no other answer would do.
        """
        question = self._find(sender, continuation_id)
        fd = take_fd()
        if not agree:
            blocking_io.close_all([fd])
            question.settle(StateAnswer(Outcome.REFUSED))
            return
        question.taken = True
        try:
            file = await blocking_io.aside(
                lambda: copy(fd, self._directory, self._state_max()), StateFile.close
            )
        except TooLong as error:
            question.settle(StateAnswer(Outcome.REFUSED, reason=str(error)))  # no other answer would do
            raise InvalidParameter(str(error)) from None
        except NotState as error:
            raise InvalidParameter(str(error)) from None
        except (OSError, RuntimeError) as error:
            text = f"the state can't be kept: {error}; see missiond(8)"
            question.settle(StateAnswer(Outcome.REFUSED, reason=text))
            raise DistributedServiceFailed(text) from None
        finally:
            question.taken = False
        late = question.answer.done()
        question.settle(StateAnswer(Outcome.AGREED, file=file))
        if late:
            raise InvalidParameter(f"continuation {continuation_id} does not wait any more")

    def _find(self, sender: str, continuation_id: int) -> _Question:
        question = self._questions.get(continuation_id)
        # another's is answered like one that does not exist
        if question is None or question.connection != sender or question.taken or question.answer.done():
            raise InvalidParameter(f"continuation {continuation_id} does not wait for an answer of yours")
        return question
