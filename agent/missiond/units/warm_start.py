# SPDX-License-Identifier: Apache-2.0
"""A start that waits for one word: everything slow about it is done before the mission stops elsewhere."""

from __future__ import annotations

import signal
import socket
import sys
from types import FrameType

from missiond.units.launch_request import Order
from missiond.units.launches import Launches
from missiond.units.requests import GO, READY

HOLD = 20.0
"""Seconds to wait for the word; with the start after it, less than missiond-units may take."""


def serve(
    connection: socket.socket, launches: Launches, unit: str, order: Order, files: list[tuple[str, int, int]]
) -> str | None:
    """Get ready, say so, and start it when told to; what became of it, None where nobody told.

    Nothing is started before the word, nor after the time or the connection is over; then nothing is left.
    Raises OSError.
    """
    signal.signal(signal.SIGTERM, _leave)
    with launches.prepared(unit, order.what, files, order.origin) as start:
        connection.send(READY)
        connection.settimeout(HOLD)
        try:
            word = connection.recv(len(GO) + 1)
        except OSError:  # too late, or nobody is there
            return None
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return start() if word == GO else None


def _leave(_number: int, _frame: FrameType | None) -> None:
    """End, and tidy up on the way."""
    sys.exit(0)
