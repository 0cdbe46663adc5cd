# SPDX-License-Identifier: Apache-2.0
"""What missiond-units is told about a mission, as the content of the first descriptor beside a question.

Too long for a message, and nobody else's business: it comes as a file without a name (memfd_create(2)). The
next descriptors are those of the files that the mission is handed, in the order of `files`.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from missiond.core.launch.description import LaunchDescription, parse
from missiond.errors import InvalidParameter

NAMES = ("state", "want_param")
"""Names of the files that a mission may be handed."""
MAX_ORDER = 1 << 20
MAX_FILE = 1 << 40
MAX_FDS = 1 + len(NAMES)
_ORIGIN = re.compile(r"(?:[0-9a-f]{64})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Order:
    """`files` are names (`state`, `want_param`) and sizes; `origin` is the device that the mission was on."""

    what: LaunchDescription
    files: tuple[tuple[str, int], ...] = ()
    origin: str = ""


def encode_order(order: Order) -> bytes:
    """Write it."""
    files = [list(file) for file in order.files]
    return json.dumps({"what": order.what.mapping(), "files": files, "origin": order.origin}).encode()


def parse_order(data: bytes) -> Order:
    """Read and check it, whoever wrote it; raises ValueError."""
    try:
        content = json.loads(data)
        what, dropped = parse(content["what"])
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
    """Read it from the first descriptor, and count the others; raises ValueError, OSError."""
    if not fds:
        raise ValueError("there is no order")
    status = os.fstat(fds[0])
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_ORDER:
        raise ValueError("an order is a short file")
    order = parse_order(os.pread(fds[0], status.st_size, 0))
    if len(fds) != 1 + len(order.files):
        raise ValueError("descriptors are missing")
    return order
