# SPDX-License-Identifier: Apache-2.0
"""A program with so many bytes of state in a file, that can go on elsewhere.

Started to go on, it sees whether all of it is there. It leaves the time at which it hands its state over, in
seconds since the epoch, in a file beside the one with the state.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import time
from pathlib import Path
from typing import BinaryIO

import missiond

STATE = Path("/var/tmp/large/state")
HANDED = STATE.with_name("handed")
_DIGEST = 32


def taken_over() -> None:
    """Keep what it was handed, unless that is damaged."""
    state = Path(os.environ["MISSIOND_STATE_FILE"]).read_bytes()
    if hashlib.sha256(state[:-_DIGEST]).digest() != state[-_DIGEST:]:
        raise SystemExit("the state is damaged")
    STATE.write_bytes(state)


def made(size: int) -> None:
    """Make a state."""
    state = os.urandom(size - _DIGEST)
    STATE.write_bytes(state + hashlib.sha256(state).digest())


def save(_request: missiond.MoveRequest) -> BinaryIO:
    """Hand it over."""
    HANDED.write_text(repr(time.time()))
    return STATE.open("rb")


async def main() -> None:
    """Argument: bytes of state."""
    STATE.parent.mkdir(exist_ok=True)
    if "MISSIOND_STATE_FILE" in os.environ:
        taken_over()
    else:
        made(int(sys.argv[1]))
    HANDED.unlink(missing_ok=True)
    async with missiond.connect() as agent, agent.continuable(label="Large", on_move=save):
        await asyncio.Event().wait()


asyncio.run(main())
