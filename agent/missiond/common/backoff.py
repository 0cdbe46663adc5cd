# SPDX-License-Identifier: Apache-2.0
"""How long to wait before a device that did not answer is dialled again."""

from __future__ import annotations

LEAST = 250
MOST = 60_000
_PART = 5
_JITTER = 0.25


def delay(elapsed: int, chance: float) -> int:
    """Return ms to wait after `elapsed` ms without a link; `chance` is from 0 to 1.

    A fifth of the time that it has been away: one whose service was started again is met a moment after it
    listens, whoever comes back after ten seconds within about two, and whoever stays away costs a dial a
    minute. Jitter (a quarter either way) keeps hosts from dialling
    each other in step.
    """
    wait = min(max(elapsed // _PART, LEAST), MOST)
    return int(wait * (1 - _JITTER + 2 * _JITTER * chance))
