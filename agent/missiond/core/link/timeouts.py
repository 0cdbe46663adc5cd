# SPDX-License-Identifier: Apache-2.0
"""How much may be under way on one link, in one direction, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

MAX_BODY = 256 * 1024
"""Bytes of the body of a letter."""
MAX_CHUNK = 128 * 1024
"""Bytes of a piece of state."""
WINDOW = 2 * 1024 * 1024
"""Bytes of one state under way and not yet kept by the other side."""
MAX_LETTERS = 4
"""Letters without an answer; a peer with more breaks the protocol."""
MAX_STATES = 4
"""States at a time; one more is refused."""
MAX_WAITING = 64
"""Letters of this host in the queue."""
MAX_REFUSED = 64
"""Refused requests of a peer in `REFUSED_PERIOD` ms; a peer with more is cut off."""
REFUSED_PERIOD = 60_000


@dataclass(frozen=True, slots=True)
class Patience:
    """In ms."""

    reply: int = 10_000
    """For the agent of this host to take a letter."""
    answer: int = 45_000
    """For the answer to a letter; more than `MAX_LETTERS` times `reply`, as letters are taken in turn."""
    stall: int = 60_000
    """For a state to get on by a byte."""
