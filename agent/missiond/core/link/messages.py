# SPDX-License-Identifier: Apache-2.0
"""What two hosts say to each other, as bytes: JSON objects with a `kind`, checked field by field.

Only pieces of state are not JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from missiond.core.link import chunk as chunks
from missiond.core.link import letter_checks as carriage_checks
from missiond.core.link import rows as row_codec
from missiond.core.link import values
from missiond.core.link.checks import I32, I63, U32, BadMessage, Check, boolean, members, number, one_of, text
from missiond.core.link.letters import Cancel, Chunk, Got, Letter, State, Taken
from missiond.core.link.message_types import (
    INFO,
    SNAPSHOT,
    Accepted,
    AgentBack,
    Ask,
    Bye,
    DetailsAnswer,
    Hello,
    Ignored,
    LinkRefused,
    Message,
    Ping,
    Pong,
    Renamed,
    Resync,
    SnapshotsMessage,
    Subscribe,
    Unsubscribe,
    Update,
    WatchMission,
)
from missiond.core.link.values import Values

__all__ = [
    "INFO",
    "SNAPSHOT",
    "Accepted",
    "AgentBack",
    "Ask",
    "BadMessage",
    "Bye",
    "DetailsAnswer",
    "Hello",
    "Ignored",
    "LinkRefused",
    "Message",
    "Ping",
    "Pong",
    "Renamed",
    "Resync",
    "SnapshotsMessage",
    "Subscribe",
    "Unsubscribe",
    "Update",
    "Values",
    "WatchMission",
    "parse",
    "serialise",
]

MAX_REASON = 1024
"""Characters of a reason or an error's text."""
MAX_FEATURES = 32

_reason = text(MAX_REASON)
_name = text(255)
_word = text(32)
_mission = number(1, U32)
_sequence = number(0, I63)
_serial = number(0, U32)


def _versions(value: object) -> tuple[int, int]:
    if type(value) is not list or len(value) != 2:
        raise BadMessage("not a pair of versions")
    low, high = map(number(1, I32), value)
    if low > high:
        raise BadMessage("versions the wrong way round")
    return low, high


def _words(value: object) -> tuple[str, ...]:
    if type(value) is not list or len(value) > MAX_FEATURES:
        raise BadMessage(f"not a list of at most {MAX_FEATURES} words")
    return tuple(map(_word, value))


def _rows(value: object) -> tuple[bytes, ...]:
    if type(value) is not list or len(value) > row_codec.MAX_ROWS:
        raise BadMessage("not a list of rows, or too many")
    return tuple(map(row_codec.accept, value))


_CHECKS: Mapping[type[Message], Mapping[str, Check]] = {
    Hello: {
        "versions": _versions,
        "device": text(64),
        "name": _name,
        "instance": text(64),
        "software": text(255),
        "features": _words,
    },
    Accepted: {"version": number(1, I32)},
    LinkRefused: {"reason": _reason, "sub": _serial},
    Subscribe: {
        "sub": _serial,
        "tag": number(-I32 - 1, I32),
        "fix_conflict": boolean,
        "list_id": _sequence,
        "have_seq": _sequence,
        "snapshots": boolean,
    },
    Update: {
        "sub": _serial,
        "list_id": number(1, I63),
        "prev_seq": _sequence,
        "last_seq": _sequence,
        "full": boolean,
        "rows": _rows,
        "removed": members(_mission, 2 * row_codec.MAX_ROWS),
        "more": boolean,
    },
    Unsubscribe: {},
    Resync: {"sub": _serial},
    WatchMission: {"snapshots": boolean},
    Ping: {"n": _serial},
    Pong: {"n": _serial},
    Ask: {"n": _serial, "what": one_of(INFO, SNAPSHOT), "mission": _mission},
    DetailsAnswer: {
        "n": _serial,
        "value": lambda value: None if value is None else values.accept(value),
        "code": number(0, I32),
        "text": _reason,
    },
    SnapshotsMessage: {"missions": members(_mission, row_codec.MAX_ROWS)},
    Renamed: {"name": _name},
    AgentBack: {},
    Bye: {"reason": _reason},
    Letter: {
        "n": _serial,
        "transfer": carriage_checks.transfer,
        "step": carriage_checks.step,
        "body": carriage_checks.body,
    },
    State: {"n": _serial, "transfer": carriage_checks.transfer, "offset": _sequence, "size": _sequence},
    Got: {"n": _serial, "offset": _sequence},
    Taken: {"n": _serial, "code": number(0, I32), "text": _reason},
    Cancel: {"n": _serial},
}
"""Field to what checks it."""
_DEFAULTS: Mapping[tuple[type[Message], str], object] = {(Hello, "features"): ()}
"""What is meant where a field is not there: earlier releases did not have it."""
_OPTIONAL = {Renamed, AgentBack}
"""Kinds that say themselves that they may be ignored: earlier releases do not have them."""
_KINDS = {kind.kind: kind for kind in _CHECKS}


def _no_constant(name: str) -> NoReturn:
    raise BadMessage(f"{name} is no number")


_decoder = json.JSONDecoder(parse_constant=_no_constant)
_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def parse(data: bytes) -> Message:
    """Return what the bytes say; raises BadMessage. Fields that this version does not know are ignored."""
    if data[:1] == chunks.MARK:
        return chunks.parse(data)
    try:
        found = _decoder.decode(data.decode())
    except BadMessage:
        raise
    except RecursionError:
        raise BadMessage("nested too deeply") from None
    except ValueError:  # not UTF-8, not JSON, a number of thousands of digits
        raise BadMessage("not JSON") from None
    if type(found) is not dict or type(found.get("kind")) is not str:
        raise BadMessage("not an object with a kind")
    kind = _KINDS.get(found["kind"])
    if kind is None:
        if found.get("optional") is True:
            return Ignored()
        raise BadMessage("of an unknown kind")
    return kind(**_fields(kind, found))


def _fields(kind: type[Message], found: dict[str, Any]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name, check in _CHECKS[kind].items():
        if name not in found and (kind, name) in _DEFAULTS:
            fields[name] = _DEFAULTS[kind, name]
            continue
        if name not in found:
            raise BadMessage(f"{kind.kind} without {name}")
        try:
            fields[name] = check(found[name])
        except BadMessage as error:
            raise BadMessage(f"{name} of {kind.kind}: {error}") from None
    return fields


def serialise(message: Message) -> bytes:
    """Return a message as bytes, without a frame."""
    if isinstance(message, Chunk):
        return chunks.serialise(message)
    fields = {name: getattr(message, name) for name in _CHECKS[type(message)]}
    if type(message) in _OPTIONAL:
        fields["optional"] = True
    if not isinstance(message, Update):
        return _dumps({"kind": message.kind, **fields}).encode()
    # Rows are JSON already, and the same bytes for every peer.
    del fields["rows"]
    head = _dumps({"kind": message.kind, **fields}).encode()
    return b'%b,"rows":[%b]}' % (head[:-1], b",".join(message.rows))
