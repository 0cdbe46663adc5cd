# SPDX-License-Identifier: Apache-2.0
"""What one client may ask of us at a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of a server; they can be replaced while it serves."""

    calls_in_flight: int = 64
    """Calls of one connection that wait for something, before the next one is refused."""
    call_bytes: int = 256 * 1024
    """Bytes of arguments of one call."""
