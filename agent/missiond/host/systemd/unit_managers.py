# SPDX-License-Identifier: Apache-2.0
"""The way to service managers, the system's and users', by way of missiond-units."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from missiond.config.units import parse_span
from missiond.core.keepalive.service_restart import RestartedService, ServiceState
from missiond.host.systemd.unit_changes import Following, UnitChanges
from missiond.units.requests import MAX_MESSAGE, Question, encode, is_service, is_unit

SOCKET = Path("/run/missiond-units.socket")
TIMEOUT = 60.0
"""Seconds to wait for one answer; missiond-units gives up earlier."""

AT_ONCE, OF_ONE = 8, 2
"""Questions under way at a time, each a process: of all managers, and of one, possibly hanging."""

NEVER = 2**63 - 1
"""Ms of a time without an end."""

_USER_SLICE = re.compile(r"user-([1-9][0-9]{0,9})\.slice", re.ASCII)
_WORD = re.compile(r"[a-z0-9-]{0,40}", re.ASCII)
_MAX_PID = 2**22


class ManagedUnit(NamedTuple):
    """A service, scope or slice, and the manager: the uid of a user, None for the system's."""

    manager: int | None
    name: str


class ManagersMissing(Exception):
    """missiond-units can't be reached; the text says why."""


class NotAnswered(Exception):
    """No answer of a manager, or none with a sense; the text is the name of an errno(3)."""

    @property
    def gone(self) -> bool:
        """Whether there is no such manager, and so no unit of the manager's."""
        return str(self) in ("ENOENT", "ECONNREFUSED", "ESRCH")


class UnitManagers:
    """Questions to service managers, a few at a time, each over a separate connection."""

    def __init__(self, path: Path = SOCKET) -> None:
        self.path = path
        self._free = asyncio.Semaphore(AT_ONCE)
        self._free_of: dict[int | None, asyncio.Semaphore] = {}
        self._changes = UnitChanges(path)

    async def show(self, service: RestartedService) -> ServiceState:
        """Return the state of a service; raises ManagersMissing, NotAnswered."""
        return _state(await self._ask("show", service))

    async def keep(self, service: RestartedService) -> ServiceState:
        """Have a service started again at each end; raises ManagersMissing, NotAnswered."""
        return _state(await self._ask("keep", service))

    async def unkeep(self, service: RestartedService) -> None:
        """Take `keep` back; raises ManagersMissing, NotAnswered."""
        await self._ask("unkeep", service)

    async def thaw(self, unit: ManagedUnit) -> None:
        """Let a unit go on, in the manager's books too; raises ManagersMissing, NotAnswered."""
        await self._ask("thaw", unit)

    def follow(self, service: RestartedService) -> Following:
        """Follow the changes of a service from soon on, until the result is closed."""
        return self._changes.follow(service)

    async def _ask(self, verb: str, service: RestartedService | ManagedUnit) -> str:
        data = encode(Question(verb, service.manager, service.name))
        free = self._free_of.setdefault(service.manager, asyncio.Semaphore(OF_ONE))
        async with free, self._free:
            return await exchange(self.path, data)


async def exchange(path: Path, data: bytes, fds: Sequence[int] = ()) -> str:
    """Ask missiond-units one question, as `ask` does, over a connection for this question alone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        return await ask(connection, path, data, fds)


async def ask(connection: socket.socket, path: Path, data: bytes, fds: Sequence[int] = ()) -> str:
    """Connect to missiond-units, ask one question with descriptors, and return the lines of the answer.

    Raises ManagersMissing and NotAnswered.
    """
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(TIMEOUT):
            try:
                await loop.sock_connect(connection, os.fspath(path))
            except OSError as error:
                raise ManagersMissing(error.strerror or str(error)) from None
            # one short message on a fresh connection: it is taken at once
            socket.send_fds(connection, [data], fds)
            return lines_of(await loop.sock_recv(connection, MAX_MESSAGE))
    except TimeoutError:
        raise NotAnswered("ETIMEDOUT") from None
    except OSError:
        return lines_of(b"")


def lines_of(answer: bytes) -> str:
    """Return the lines of an answer of missiond-units; raises NotAnswered where there is none."""
    # It may have been ended by the user whose it was by then, which says nothing about others.
    word, _, rest = (answer or b"no ECONNRESET").decode("utf-8", "replace").partition("\n")
    if word != "ok":
        raise NotAnswered(word.removeprefix("no "))
    return rest


def service_of(path: str) -> RestartedService | None:
    """Name the service of a cgroup; None where there is none.

    `path` is below the root of the hierarchy. What is deeper than a service is the service's, be it another
    system's (a container).
    """
    parts = path.split("/")
    at = _after_slices(parts, 0)
    manager: int | None = None
    match = _USER_SLICE.fullmatch(parts[1]) if at == 2 and parts[0] == "user.slice" else None
    if match is not None and at < len(parts) and parts[at] == f"user@{match[1]}.service":
        manager = int(match[1])
        at = _after_slices(parts, at + 1)
    # systemd puts "_" before a name that the kernel could take for a file of its own.
    name = parts[at].removeprefix("_") if at < len(parts) else ""
    return RestartedService(manager, name, "/".join(parts[: at + 1])) if is_service(name) else None


def unit_at(path: str) -> ManagedUnit | None:
    """Name the unit with a cgroup at exactly this path, a slice too; None where there is none."""
    parts = path.split("/")
    at = _after_slices(parts, 0)
    manager: int | None = None
    match = _USER_SLICE.fullmatch(parts[1]) if at == 2 and parts[0] == "user.slice" else None
    if match is not None and at < len(parts) - 1 and parts[at] == f"user@{match[1]}.service":
        manager = int(match[1])
        at = _after_slices(parts, at + 1)
    if at < len(parts) - 1:
        return None
    name = parts[-1].removeprefix("_")
    return ManagedUnit(manager, name) if is_unit(name) else None


def _after_slices(parts: list[str], at: int) -> int:
    while at < len(parts) and parts[at].endswith(".slice"):
        at += 1
    return at


def _state(text: str) -> ServiceState:
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    pause = values.get("RestartUSecNext") or values.get("RestartUSec", "")
    try:
        return ServiceState(
            load=_word(values["LoadState"]),
            active=_word(values["ActiveState"]),
            sub=_word(values["SubState"]),
            result=_word(values["Result"]),
            kind=_word(values["Type"]),
            restart=_word(values["Restart"]),
            restart_ms=NEVER if pause == "infinity" else parse_span(pause),
            main_pid=_pid(values["MainPID"]),
            job=values.get("Job", "") not in ("", "0"),
            collects=values.get("CollectMode") == "inactive-or-failed",
        )
    except (KeyError, ValueError):
        raise NotAnswered("EBADMSG") from None


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise ValueError("not a word of systemd's")
    return text


def _pid(text: str) -> int:
    pid = int(text)
    if not 0 <= pid <= _MAX_PID:
        raise ValueError("not a pid")
    return pid
