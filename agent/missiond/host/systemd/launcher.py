# SPDX-License-Identifier: Apache-2.0
"""Starts and stops missions through missiond-units, as the users whose they are."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from missiond.core.launch.description import LaunchDescription
from missiond.host.systemd.unit_managers import SOCKET, TIMEOUT, NotAnswered, exchange
from missiond.host.systemd.warm_start import WaitingStart, open_waiting
from missiond.units.launch_request import Order, encode_order
from missiond.units.requests import Question, encode

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
    """What stands in the way of a start; `free` is bytes for what is handed over."""

    cwd: bool
    executable: bool
    free: int


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known of the end of a unit; `how` is for people, and empty where nobody knows (any more)."""

    runs: bool
    how: str


class Launcher:
    """Asks a few at a time. All methods raise ManagersMissing and NotAnswered."""

    def __init__(self, path: Path = SOCKET) -> None:
        self._path = path
        self._free = asyncio.Semaphore(AT_ONCE)

    async def check(self, uid: int, unit: str, what: LaunchDescription) -> Possible:
        """Look whether it could be started for this user."""
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
        """Start it and wait until its program runs; the pid of that. Again does no harm.

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
        """Have all of `start` done that can be before; nothing is started by it.

        It ends by itself after a while (`helper.prepared.HOLD`), and when it is closed.
        """
        given = dict(files or {})
        data = encode(Question("prepare", uid, unit))
        async with self._free:
            with _written(_order(what, origin, given)) as orders:
                waiting = await open_waiting(self._path, data, [*orders, *given.values()])
        return PreparedLaunch(waiting)

    async def stop(self, uid: int, service: str) -> None:
        """Stop a service of the user's manager, and wait until it is gone; none is gone already."""
        try:
            said = await self._ask(Question("stop", uid, service), None, ())
        except NotAnswered as error:
            if error.gone:  # without a manager nothing of it runs
                return
            raise
        if said.get("Job") != "done":
            raise NotAnswered("EBUSY")

    async def ended(self, uid: int, unit: str) -> Ending:
        """Say how a mission's unit ended, and have its manager forget it."""
        said = await self._ask(Question("ended", uid, unit), None, ())
        return Ending(said.get("ActiveState") in _RUNS, _how(said))

    async def _ask(self, question: Question, order: Order | None, fds: Iterable[int]) -> dict[str, str]:
        data = encode(question)
        async with self._free:
            with _written(order) as orders:
                try:
                    async with asyncio.timeout(TIMEOUT):
                        answer = await exchange(self._path, data, [*orders, *fds])
                except TimeoutError:
                    raise NotAnswered("ETIMEDOUT") from None
        return _said(answer)


class PreparedLaunch:
    """A start that waits for one word."""

    def __init__(self, waiting: WaitingStart) -> None:
        self._waiting = waiting

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call back once, when it can't be had any more."""
        self._waiting.on_end(callback)

    async def go(self) -> int | None:
        """Start it and wait until its program runs; the pid of that, as Launcher.start has it.

        None where it is over: then it was not started, and will not be.
        """
        answer = await self._waiting.go()
        return None if answer is None else _pid(_said(answer))

    def close(self) -> None:
        """Have it end and leave nothing."""
        self._waiting.close()


def _order(what: LaunchDescription, origin: str, files: Mapping[str, int]) -> Order:
    return Order(what, tuple((name, os.fstat(fd).st_size) for name, fd in files.items()), origin)


def _said(answer: bytes) -> dict[str, str]:
    word, _, rest = answer.decode("utf-8", "replace").partition("\n")
    if word != "ok":
        raise NotAnswered(word.removeprefix("no "))
    return dict(line.split("=", 1) for line in rest.splitlines() if "=" in line)


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
