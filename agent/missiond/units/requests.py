# SPDX-License-Identifier: Apache-2.0
"""The questions to missiond-units, and the format of the messages.

A question is one message of a SOCK_SEQPACKET socket (unix(7)) that has no other: three ASCII words, a verb, a
manager and a service. The manager is `system`, or the uid of the user whose it is::

    show MANAGER SERVICE       what systemd says of it
    keep MANAGER SERVICE       have it started again, in the way of Restart=always, where it has Restart=no,
                               and not forgotten when it fails, where it has CollectMode=inactive-or-failed
    unkeep MANAGER SERVICE     take that back
    thaw MANAGER UNIT          let it go on, also where it is frozen in the manager's books alone
    watch MANAGER SERVICE      tell of every change until the connection is closed, see unit_watch
    check UID UNIT             whether a mission could be started by that user's manager
    start UID UNIT             start it, and wait until it runs
    prepare UID UNIT           do all that can be done before, and wait a while for `go`
    stop UID SERVICE           stop it, and wait until it has ended
    ended UID UNIT             how it ended, which is forgotten then

Beside check, start and prepare come descriptors: first an `Order`, which is too long for a message and nobody
else's business, as a file without a name (memfd_create(2)), then the files that the mission is handed, in the
order of `Order.files`. The answer is one message, too: `no` and
the name of an errno(3), or `ok` and, but for unkeep, lines `Property=Value` as systemctl(1) shows them. The
first answer to prepare is `ok` alone; the word `go` brings the second.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from missiond.core.launch.description import LaunchDescription
from missiond.core.launch.description import parse as parse_description
from missiond.core.launch.unit import transfer_of
from missiond.errors import InvalidParameter

MAX_MESSAGE = 4096
DROP_IN = "50-missiond.conf"
"""Name of the drop-in file of a kept service."""
READY = b"ok\n"
GO = b"go"
VERBS = ("show", "keep", "unkeep", "thaw", "watch", "check", "start", "prepare", "stop", "ended")
OF_MISSIONS = ("check", "start", "prepare", "stop", "ended")
"""Never asked about the system's manager."""
WITH_ORDER = ("check", "start", "prepare")
OF_UNITS = (*WITH_ORDER, "ended")
"""Verbs for units of continued missions only, and for no other service."""
PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "Type",
    "Restart",
    "RestartUSec",
    "RestartUSecNext",
    "MainPID",
    "Job",
    "CollectMode",
)

_QUESTION = re.compile(rf"({'|'.join(VERBS)}) (system|[1-9][0-9]{{0,9}}) ([^ ]+)", re.ASCII)
_SERVICE = re.compile(r"[A-Za-z0-9:_.\\][A-Za-z0-9:_.\\@-]{0,246}\.service", re.ASCII)
_UNIT = re.compile(r"[A-Za-z0-9:_.\\][A-Za-z0-9:_.\\@-]{0,246}\.(?:service|scope|slice)", re.ASCII)
_EVERYBODYS = re.compile(r"(?:system|user|machine|user-[0-9]+)\.slice|init\.scope", re.ASCII)
_LAST_UID = 2**32 - 2


@dataclass(frozen=True, slots=True)
class Question:
    """One question; `manager` is None for the system's. To thaw, `service` is a service, scope or slice."""

    verb: str
    manager: int | None
    service: str

    def __str__(self) -> str:
        return f"{self.verb} {'system' if self.manager is None else self.manager} {self.service}"


def encode(question: Question) -> bytes:
    """Write a question as a message; raises ValueError for an invalid one."""
    data = str(question).encode("ascii", "replace")
    if parse(data) != question:
        raise ValueError(f"{question!r} can't be asked")
    return data


def parse(data: bytes) -> Question:
    """Read a question from a message; raises ValueError for anything else."""
    match = _QUESTION.fullmatch(data.decode("ascii")) if len(data) <= MAX_MESSAGE else None
    if match is None:
        raise ValueError("no such question")
    verb, manager, service = match.groups()
    if not (is_unit(service) if verb == "thaw" else is_service(service)):
        raise ValueError("not the name of a service")
    uid = None if manager == "system" else int(manager)
    if verb in OF_MISSIONS and uid is None:
        raise ValueError(f"{verb} is about users' services only")
    if verb in OF_UNITS and transfer_of(service) is None:
        raise ValueError("not the unit of a mission")
    if uid is not None and uid > _LAST_UID:
        raise ValueError("not a uid")
    return Question(verb, uid, service)


def is_service(name: str) -> bool:
    """Whether a name is of one service, user managers excepted (systemd.unit(5))."""
    return _SERVICE.fullmatch(name) is not None and not name.startswith("user@")


def is_unit(name: str) -> bool:
    """Whether a name is of a unit of processes, the manager and everybody's slices excepted."""
    return _UNIT.fullmatch(name) is not None and not _EVERYBODYS.fullmatch(name)


NAMES = ("state", "want_param")
"""Names of the files for a mission."""
MAX_ORDER = 1 << 20
MAX_FILE = 1 << 40
MAX_FDS = 1 + len(NAMES)
_ORIGIN = re.compile(r"(?:[0-9a-f]{64})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Order:
    """A launch description with `files`, names (`state`, `want_param`) and sizes, and the device `origin`."""

    what: LaunchDescription
    files: tuple[tuple[str, int], ...] = ()
    origin: str = ""


def encode_order(order: Order) -> bytes:
    """Write an order as JSON."""
    files = [list(file) for file in order.files]
    return json.dumps({"what": order.what.mapping(), "files": files, "origin": order.origin}).encode()


def parse_order(data: bytes) -> Order:
    """Read and check an order from anybody; raises ValueError."""
    try:
        content = json.loads(data)
        what, dropped = parse_description(content["what"])
        files = tuple((name, size) for name, size in content["files"])
        origin = content["origin"]
    except (InvalidParameter, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no order: {error!r:.200}") from None
    names = [name for name, _ in files]
    if dropped or len(set(names)) != len(names) or not set(names) <= set(NAMES):
        raise ValueError("an order with variables or files that it can't have")
    if not all(type(size) is int and 0 <= size <= MAX_FILE for _, size in files):
        raise ValueError("an order with sizes that are none")
    if not isinstance(origin, str) or not _ORIGIN.fullmatch(origin):
        raise ValueError("an order from nowhere")
    return Order(what, files, origin)


def read_order(fds: Sequence[int]) -> Order:
    """Read an order from the first descriptor, and count the others; raises ValueError, OSError."""
    if not fds:
        raise ValueError("there is no order")
    status = os.fstat(fds[0])
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_ORDER:
        raise ValueError("an order is a short file")
    order = parse_order(os.pread(fds[0], status.st_size, 0))
    if len(fds) != 1 + len(order.files):
        raise ValueError("descriptors are missing")
    return order
