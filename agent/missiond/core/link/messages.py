# SPDX-License-Identifier: Apache-2.0
"""Messages between two hosts as bytes: JSON objects with a `kind`, checked field by field.

Only pieces of state are not JSON.
"""

from __future__ import annotations

import json
from struct import Struct

from missiond.core import schema
from missiond.core.link.checks import BadMessage
from missiond.core.link.letters import Cancel, Chunk, Got, Letter, State, Taken
from missiond.core.link.message_types import (
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
from missiond.core.link.timeouts import MAX_CHUNK
from missiond.core.schema import I63

MARK = b"\0"
"""The first byte of a piece of state, as of no JSON; number, offset and data follow."""
_HEAD = Struct(">cIQ")
_OPTIONAL = {Renamed, AgentBack}
"""Kinds that say themselves that they may be ignored: earlier releases do not have them."""
_KINDS = {
    kind.kind: kind
    for kind in (
        Hello, Accepted, LinkRefused, Subscribe, Update, Unsubscribe, Resync, WatchMission, Ping, Pong, Ask,
        DetailsAnswer, SnapshotsMessage, Renamed, AgentBack, Bye, Letter, State, Got, Taken, Cancel,
    )
}  # fmt: skip
_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def parse(data: bytes) -> Message:
    """Return the message in the bytes; raises BadMessage. Unknown fields are ignored."""
    if data[:1] == MARK:
        return _piece(data)
    found = schema.decode(data)
    if type(found) is not dict or type(found.get("kind")) is not str:
        raise BadMessage("not an object with a kind")
    kind = _KINDS.get(found["kind"])
    if kind is None:
        if found.get("optional") is True:
            return Ignored()
        raise BadMessage("of an unknown kind")
    try:
        return schema.load(kind, found)
    except BadMessage as error:
        raise BadMessage(f"{kind.kind}: {error}") from None


def serialise(message: Message) -> bytes:
    """Return a message as bytes, without a frame."""
    if isinstance(message, Chunk):
        return b"".join((chunk_head(message), message.data))
    fields = schema.dump(message)
    if type(message) in _OPTIONAL:
        fields["optional"] = True
    if not isinstance(message, Update):
        return _dumps({"kind": message.kind, **fields}).encode()
    # Rows are JSON already, and the same bytes for every peer.
    del fields["rows"]
    head = _dumps({"kind": message.kind, **fields}).encode()
    return b'%b,"rows":[%b]}' % (head[:-1], b",".join(message.rows))


def chunk_head(chunk: Chunk) -> bytes:
    """Return the bytes in front of the data of a piece."""
    return _HEAD.pack(MARK, chunk.n, chunk.offset)


def _piece(message: bytes) -> Chunk:
    """Return the piece in bytes with `MARK` in front; raises BadMessage."""
    length = len(message) - _HEAD.size
    if not 0 < length <= MAX_CHUNK:
        raise BadMessage(f"a piece of state has 1 to {MAX_CHUNK} bytes")
    _, n, offset = _HEAD.unpack_from(message)
    if offset > I63 - MAX_CHUNK:
        raise BadMessage("a piece of state beyond all files")
    return Chunk(n, offset, memoryview(message)[_HEAD.size :])
