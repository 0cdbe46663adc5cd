# SPDX-License-Identifier: Apache-2.0
"""A mission's row as bytes, for sending and for the view of a peer (one object a row, for memory)."""

from __future__ import annotations

import json

from missiond.core.link.checks import BadMessage
from missiond.core.missions.missions import Row
from missiond.core.schema import I32, U32, U64, clean

MAX_TEXT = 1024
"""Characters of a label, an icon, an application's id or a state; also the limit of RegisterMission."""
MAX_ROWS = 10_000
"""Rows of one list."""
MAX_BYTES = 4 * 1024 * 1024
"""Bytes of all rows of one list."""

_TYPES = (int, str, str, str, int, int, str, bool, bool, int, int)
_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def encode(row: Row) -> bytes:
    """Return a row as compact JSON; texts longer than MAX_TEXT are cut."""
    ident, label, icon, app_id, pid, uid, state, *rest = row
    label, icon, app_id, state = label[:MAX_TEXT], icon[:MAX_TEXT], app_id[:MAX_TEXT], state[:MAX_TEXT]
    return _dumps([ident, label, icon, app_id, pid, uid, state, *rest]).encode()


def decode(data: bytes) -> Row:
    """Return the row of bytes made by `encode` or `accept`."""
    row: Row = tuple(json.loads(data))
    return row


def mission_of(data: bytes) -> int:
    """Return the mission's id of bytes made by `encode` or `accept`."""
    return int(data[1 : data.index(b",")])


def accept(fields: object) -> bytes:
    """Return a row from another host as bytes; raises BadMessage for no row."""
    if type(fields) is not list or tuple(map(type, fields)) != _TYPES:
        raise BadMessage("a row that is not one of eleven fields of the right types")
    ident, label, icon, app_id, pid, uid, state, _locked, _continuable, tag, started = fields
    if not (
        1 <= ident <= U32
        and 0 <= pid <= U32
        and 0 <= uid <= U32
        and -I32 - 1 <= tag <= I32
        and 0 <= started <= U64
    ):
        raise BadMessage("a row with a number out of range")
    for value in (label, icon, app_id, state):
        if len(value) > MAX_TEXT or not clean(value):
            raise BadMessage("a row with text that is too long or not valid")
    return _dumps(fields).encode()
