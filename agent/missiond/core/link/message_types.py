# SPDX-License-Identifier: Apache-2.0
"""The kinds of message between two hosts with proved identities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from missiond.core.link import rows as row_codec
from missiond.core.link.checks import BadMessage, Code, MissionId, Name, Reason, Sequence, Serial, Tag
from missiond.core.link.values import Values, accept
from missiond.core.schema import I32, I63, Checked, Later, Length, Range, Through, Words

INFO = "info"
SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True)
class Message:
    """A message of one host."""

    kind: ClassVar[str] = ""


Version = Annotated[int, Range(1, I32)]
Missions = Annotated[tuple[MissionId, ...], Length(row_codec.MAX_ROWS)]


def _rising(versions: tuple[int, int]) -> tuple[int, int]:
    if versions[0] > versions[1]:
        raise BadMessage("versions the wrong way round")
    return versions


def _rows(value: object) -> tuple[bytes, ...]:
    if type(value) is not list or len(value) > row_codec.MAX_ROWS:
        raise BadMessage("not a list of rows, or too many")
    return tuple(map(row_codec.accept, value))


def _details(value: object) -> Values | None:
    return None if value is None else accept(value)


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """The first word: identity, and the oldest and newest spoken version of this protocol.

    `device` must be the id that TLS has proved; `instance` differs at each start of the peer unit.
    `features` names what it can do beyond its version: words that others do not know mean nothing to them.
    """

    versions: Annotated[tuple[Version, Version], Checked(_rising)]
    device: Annotated[str, Length(64)]
    name: Name
    instance: Annotated[str, Length(64)]
    software: Name
    features: Later[Annotated[tuple[Annotated[str, Length(32)], ...], Length(32)]] = ()
    kind: ClassVar[str] = "hello"


@dataclass(frozen=True, slots=True)
class Accepted(Message):
    """The answer to a hello: with TLS 1.3 nothing else tells a client of the admission."""

    version: Version
    kind: ClassVar[str] = "accepted"


@dataclass(frozen=True, slots=True)
class LinkRefused(Message):
    """No to a hello (`sub` 0; the link ends) or to the subscription `sub` (waiting for permission)."""

    reason: Reason
    sub: Serial = 0
    kind: ClassVar[str] = "refused"


@dataclass(frozen=True, slots=True)
class Subscribe(Message):
    """Request for the list: all changes since `have_seq` of `list_id` (0: the whole list).

    `sub` numbers subscriptions of one link, so that what is still under way for an earlier one is told apart.
    """

    sub: Serial
    tag: Tag
    fix_conflict: bool
    list_id: Sequence
    have_seq: Sequence
    snapshots: bool
    kind: ClassVar[str] = "subscribe"


@dataclass(frozen=True, slots=True)
class Unsubscribe(Message):
    """End of a subscription."""

    kind: ClassVar[str] = "unsubscribe"


@dataclass(frozen=True, slots=True)
class Update(Message):
    """The changes from `prev_seq` to `last_seq` of a list, or (`full`) the list at `last_seq`.

    Rows are bytes of `rows.encode`. It may come in several messages; `more` is false in the last.
    """

    sub: Serial
    list_id: Annotated[int, Range(1, I63)]
    prev_seq: Sequence
    last_seq: Sequence
    full: bool
    rows: Annotated[tuple[bytes, ...], Through(_rows)]
    removed: Annotated[tuple[MissionId, ...], Length(2 * row_codec.MAX_ROWS)]
    more: bool = False
    kind: ClassVar[str] = "update"


@dataclass(frozen=True, slots=True)
class Resync(Message):
    """Request for the whole list, under the new number `sub`, after an update without a fit."""

    sub: Serial
    kind: ClassVar[str] = "resync"


@dataclass(frozen=True, slots=True)
class WatchMission(Message):
    """Whether to say when there is something new to see of a subscribed mission."""

    snapshots: bool
    kind: ClassVar[str] = "watch"


@dataclass(frozen=True, slots=True)
class Ping(Message):
    """A sign of life is asked for."""

    n: Serial
    kind: ClassVar[str] = "ping"


@dataclass(frozen=True, slots=True)
class Pong(Message):
    """A sign of life."""

    n: Serial
    kind: ClassVar[str] = "pong"


@dataclass(frozen=True, slots=True)
class Ask(Message):
    """Tell me about one mission: INFO or SNAPSHOT."""

    n: Serial
    what: Annotated[str, Words((INFO, SNAPSHOT))]
    mission: MissionId
    kind: ClassVar[str] = "ask"


@dataclass(frozen=True, slots=True)
class DetailsAnswer(Message):
    """The answer to Ask `n`: `value`, or None and the code and text of an error."""

    n: Serial
    value: Annotated[Values | None, Through(_details)] = None
    code: Code = 0
    text: Reason = ""
    kind: ClassVar[str] = "answer"


@dataclass(frozen=True, slots=True)
class SnapshotsMessage(Message):
    """There is something new to see of these missions."""

    missions: Missions
    kind: ClassVar[str] = "snapshots"


@dataclass(frozen=True, slots=True)
class Renamed(Message):
    """A new name of the sender. Earlier releases ignore this kind."""

    name: Name
    kind: ClassVar[str] = "renamed"


@dataclass(frozen=True, slots=True)
class AgentBack(Message):
    """Restart of the sender's agent, and request to repeat hand-overs.

    Only to a peer that knows hand-overs; earlier releases ignore it.
    """

    kind: ClassVar[str] = "agent-back"


@dataclass(frozen=True, slots=True)
class Bye(Message):
    """The last word."""

    reason: Reason
    kind: ClassVar[str] = "bye"


@dataclass(frozen=True, slots=True)
class Ignored(Message):
    """A message of a later version, marked as optional."""
