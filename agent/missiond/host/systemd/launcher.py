# SPDX-License-Identifier: Apache-2.0
"""Starts and stops of missions through missiond-units, with the users' own rights."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from missiond.core.launch.description import LaunchDescription
from missiond.host.systemd.unit_managers import SOCKET, TIMEOUT, NotAnswered, ask, exchange, lines_of
from missiond.units.requests import GO, MAX_MESSAGE, Order, Question, encode, encode_order

AT_ONCE = 4
_EXITED = 1
_KILLED = ("2", "3")
"""CLD_EXITED, CLD_KILLED and CLD_DUMPED, siginfo_t."""
_RUNS = ("active", "activating", "reloading")
_EXEC, _CHDIR, _RUNTIME = 203, 200, 233
"""systemd.exec(5), "Process Exit Codes"."""
_REASONS = {
    _EXEC: "its program can't be executed",
    _CHDIR: "its directory can't be entered",
    _RUNTIME: "its files can't be handed over",
}


class StartFailed(Exception):
    """The unit did not start; the text says why."""


@dataclass(frozen=True, slots=True)
class Possible:
    """The obstacles to a start; `free` is the room for files, in bytes."""

    cwd: bool
    executable: bool
    free: int


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a unit; `how` is for people, and empty where unknown."""

    runs: bool
    how: str


class Launcher:
    """Asks a few at a time. All methods raise ManagersMissing and NotAnswered."""

    def __init__(self, path: Path = SOCKET) -> None:
        self._path = path
        self._free = asyncio.Semaphore(AT_ONCE)

    async def check(self, uid: int, unit: str, what: LaunchDescription) -> Possible:
        """Look whether a unit could be started for this user."""
        said = await self._ask(Question("check", uid, unit), Order(what), ())
        try:
            return Possible(said["Cwd"] == "yes", said["Executable"] == "yes", int(said["Free"]))
        except (KeyError, ValueError):
            raise NotAnswered("EBADMSG") from None

    async def start(
        self,
        uid: int,
        unit: str,
        what: LaunchDescription,
        *,
        origin: str = "",
        files: Mapping[str, int] | None = None,
    ) -> int:
        """Start a unit, wait for the program to run, and return the pid. Harmless when repeated.

        `files` are descriptors of regular files, by name (`state`, `want_param`), that stay the caller's.
        Raises StartFailed where it does not run.
        """
        given = dict(files or {})
        return _pid(
            await self._ask(Question("start", uid, unit), _order(what, origin, given), given.values())
        )

    async def prepare(
        self,
        uid: int,
        unit: str,
        what: LaunchDescription,
        *,
        origin: str = "",
        files: Mapping[str, int] | None = None,
    ) -> PreparedLaunch:
        """Do all of `start` possible before the start.

        The result ends after a while, or when closed.
        """
        given = dict(files or {})
        data = encode(Question("prepare", uid, unit))
        async with self._free:
            with _written(_order(what, origin, given)) as orders:
                return await _open_prepared(self._path, data, [*orders, *given.values()])

    async def stop(self, uid: int, service: str) -> None:
        """Stop a service of the user's manager, and wait for the end; a missing one is gone already."""
        try:
            said = await self._ask(Question("stop", uid, service), None, ())
        except NotAnswered as error:
            if error.gone:  # without a manager nothing of it runs
                return
            raise
        if said.get("Job") != "done":
            raise NotAnswered("EBUSY")

    async def ended(self, uid: int, unit: str) -> Ending:
        """Return how a mission's unit ended, and have the manager forget the unit."""
        said = await self._ask(Question("ended", uid, unit), None, ())
        return Ending(said.get("ActiveState") in _RUNS, _how(said))

    async def _ask(self, question: Question, order: Order | None, fds: Iterable[int]) -> dict[str, str]:
        data = encode(question)
        async with self._free:
            with _written(order) as orders:
                return _said(await exchange(self._path, data, [*orders, *fds]))


class PreparedLaunch:
    """A start waiting for one word; missiond-units ends the wait after `units.launches.HOLD`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._went = False
        self._on_end: Callable[[], None] | None = None
        loop = asyncio.get_running_loop()
        self._answer = asyncio.ensure_future(loop.sock_recv(connection, MAX_MESSAGE))
        self._answer.add_done_callback(self._ended)

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call back once, when the start is over without `go`."""
        if self._answer.done() and not self._went:
            callback()
        else:
            self._on_end = callback

    async def go(self) -> int | None:
        """Start the program, and return the pid as `Launcher.start` does; None after the end of the wait.

        With None nothing was started, and nothing will be. Raises NotAnswered where nobody can tell.
        """
        if self._answer.done():
            return None
        self._went = True
        try:
            self._connection.send(GO)
        except OSError:
            self.close()
            await asyncio.wait([self._answer])  # which takes a turn of the loop, and closes the connection
            return None
        try:
            async with asyncio.timeout(TIMEOUT):
                answer = await self._answer
        except TimeoutError:
            raise NotAnswered("ETIMEDOUT") from None
        except OSError:
            answer = b""
        return _pid(_said(lines_of(answer)))

    def close(self) -> None:
        """End the start, and leave nothing."""
        self._on_end = None
        self._answer.cancel()

    def _ended(self, answer: asyncio.Future[bytes]) -> None:
        """Close the connection, which the loop does not look at any more."""
        self._connection.close()
        if not answer.cancelled():
            answer.exception()  # seen
        callback, self._on_end = self._on_end, None
        if callback is not None and not self._went:
            callback()


async def _open_prepared(path: Path, data: bytes, fds: Sequence[int]) -> PreparedLaunch:
    """Ask, and wait until everything is ready; raises ManagersMissing, NotAnswered."""
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        if await ask(connection, path, data, fds):
            raise NotAnswered("EBADMSG")
        stack.pop_all()
        return PreparedLaunch(connection)


def _order(what: LaunchDescription, origin: str, files: Mapping[str, int]) -> Order:
    return Order(what, tuple((name, os.fstat(fd).st_size) for name, fd in files.items()), origin)


def _said(lines: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in lines.splitlines() if "=" in line)


def _pid(said: Mapping[str, str]) -> int:
    try:
        pid, active, job = int(said["MainPID"]), said["ActiveState"], said["Job"]
    except (KeyError, ValueError):
        raise NotAnswered("EBADMSG") from None
    if job != "done" or active not in _RUNS or pid <= 1:
        raise StartFailed(_reason(said))
    return pid


@contextlib.contextmanager
def _written(order: Order | None) -> Iterator[list[int]]:
    """Give the order as a file without a name."""
    if order is None:
        yield []
        return
    fd = os.memfd_create("missiond-order", os.MFD_CLOEXEC)
    try:
        os.write(fd, encode_order(order))
        yield [fd]
    finally:
        os.close(fd)


def _reason(said: Mapping[str, str]) -> str:
    status = said.get("ExecMainStatus", "0")
    if said.get("ExecMainCode", "0") == str(_EXITED) and status.isdigit() and int(status) in _REASONS:
        return _REASONS[int(status)]
    return f"it ended at once, {_how(said) or said.get('Result') or said.get('Job') or 'failed'}"


def _how(said: Mapping[str, str]) -> str:
    """Exit status or signal; empty where neither is known."""
    code, status = said.get("ExecMainCode", "0"), said.get("ExecMainStatus", "")
    if code == str(_EXITED):
        return f"with exit status {status}"
    if code in _KILLED and status.isdigit():
        try:
            return f"by {signal.Signals(int(status)).name}"
        except ValueError:
            return f"by signal {status}"
    return ""


MOST_PREPARED = 3
"""Prepared starts at a time, each a process; others start without."""


class WarmStarts:
    """Prepared starts by unit."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._held: dict[str, tuple[int, PreparedLaunch, ExitStack]] = {}
        self._coming: set[str] = set()

    async def prepare(
        self,
        uid: int,
        unit: str,
        wanted: AbstractContextManager[None],
        prepare: Callable[[], Awaitable[PreparedLaunch]],
    ) -> bool:
        """Prepare one more start, unless MOST_PREPARED are; `wanted` is left when the start is over.

        Raises the errors of `prepare`.
        """
        if unit in self._held:
            return True
        if unit in self._coming or len(self._held) + len(self._coming) >= MOST_PREPARED:
            return False
        self._coming.add(unit)
        try:
            with ExitStack() as stack:
                stack.enter_context(wanted)
                prepared = await prepare()
                if unit not in self._coming:  # discarded, or started, meanwhile
                    prepared.close()
                    return False
                self._held[unit] = (uid, prepared, stack.pop_all())
        finally:
            self._coming.discard(unit)
        prepared.on_end(lambda: self._release(unit, prepared))
        return unit in self._held

    async def start(
        self, uid: int, unit: str, what: LaunchDescription, origin: str, files: Mapping[str, int]
    ) -> int:
        """Start a program, at once if prepared, and return the pid; raises as `go` and `start` do."""
        self._coming.discard(unit)
        held = self._held.pop(unit, None)
        if held is not None:
            of, prepared, stack = held
            with stack:
                pid = None
                try:
                    if of == uid:
                        pid = await prepared.go()
                finally:
                    prepared.close()
                if pid is not None:
                    return pid
        return await self._launcher.start(uid, unit, what, origin=origin, files=files)

    def discard(self, unit: str) -> None:
        """End the prepared start of a unit, if there is one."""
        self._coming.discard(unit)
        held = self._held.pop(unit, None)
        if held is not None:
            _, prepared, stack = held
            prepared.close()
            stack.close()

    def close(self) -> None:
        """End all prepared starts."""
        for unit in [*self._coming, *self._held]:
            self.discard(unit)

    def _release(self, unit: str, prepared: PreparedLaunch) -> None:
        held = self._held.get(unit)
        if held is not None and held[1] is prepared:
            self.discard(unit)
