# SPDX-License-Identifier: Apache-2.0
"""How much may be under way on one link, in one direction, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

MAX_BODY = 256 * 1024
"""Bytes of the body of a letter."""
MAX_CHUNK = 128 * 1024
"""Bytes of a piece of state."""
WINDOW = 2 * 1024 * 1024
"""Bytes of one state that may be under way before the other side says that it keeps them."""
MAX_LETTERS = 4
"""Letters without an answer; a peer that sends more breaks the protocol."""
MAX_STATES = 4
"""States at a time; one more is refused."""
MAX_WAITING = 64
"""Letters of ours that wait for their turn."""
MAX_REFUSED = 64
"""Requests of a peer that are refused in `REFUSED_PERIOD` ms; one that goes on is cut off."""
REFUSED_PERIOD = 60_000


@dataclass(frozen=True, slots=True)
class Patience:
    """In ms."""

    reply: int = 10_000
    """For the agent of this host to take a letter."""
    answer: int = 45_000
    """For the other side's answer to one; more than `MAX_LETTERS` times `reply`: they are taken in turn."""
    stall: int = 60_000
    """For a state to get on by a byte."""
