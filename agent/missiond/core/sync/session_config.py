# SPDX-License-Identifier: Apache-2.0
"""The settings of a session: the identity of this host, and time limits."""

from __future__ import annotations

from dataclasses import dataclass

VERSIONS = (1, 1)
"""Oldest and newest version of the protocol here."""


@dataclass(frozen=True, slots=True)
class Local:
    """The introduction of this host; `instance` differs at each start of the peer unit."""

    device: str
    name: str
    instance: str
    software: str
    versions: tuple[int, int] = VERSIONS
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Timing:
    """Patience, in ms.

    A silent peer costs two wake-ups (`idle`, then its answer), so that with ten of them `idle` must be
    minutes to let a host rest. That a host vanished is found sooner where it costs nothing: by the
    kernel's keep-alive (tcp(7), TCP_KEEPIDLE and TCP_USER_TIMEOUT) and by `Session.probe`.
    """

    batch: int = 250
    """Least time between two updates; the first change after a rest of this length goes out at once."""
    idle: int = 120_000
    """Silence of the peer before a ping."""
    unheard: int = 60_000
    """Time for any word after a ping; then the link is dead."""
    coarse: int = 30_000
    """Keep-alive falls on multiples of this, so one wake-up serves all links."""
    greet: int = 10_000
    """For the hellos on both sides."""
    answer: int = 15_000
    """For an answer to a question of this host."""
    reply: int = 10_000
    """For the agent's answer to a question of the peer; less than `answer`."""
