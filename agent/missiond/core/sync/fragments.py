# SPDX-License-Identifier: Apache-2.0
"""An update in messages that are short enough for a frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from missiond.core.link.message_types import Update

MAX_PART = 256 * 1024
"""Bytes of a message with an update."""
_HEAD = 512
_NUMBER = 11
"""Bytes of a mission's id and a comma."""


def split(update: Update, most: int = MAX_PART) -> Iterator[Update]:
    """Return parts of at most `most` bytes (a single row may be longer), all but the last with `more`."""
    room = most - _HEAD
    at_once = max(1, room // _NUMBER)
    removed, at = update.removed, 0
    while len(removed) - at > at_once:
        yield dataclasses.replace(update, rows=(), removed=removed[at : at + at_once], more=True)
        at += at_once
    rest = removed[at:]
    room -= len(rest) * _NUMBER
    first, used = 0, 0
    for index, row in enumerate(update.rows):
        if used + len(row) + 1 > room and (index > first or rest):
            yield dataclasses.replace(update, rows=update.rows[first:index], removed=rest, more=True)
            first, used, rest, room = index, 0, (), most - _HEAD
        used += len(row) + 1
    yield dataclasses.replace(update, rows=update.rows[first:], removed=rest, more=False)
