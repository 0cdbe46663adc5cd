# SPDX-License-Identifier: Apache-2.0
"""The kinds of message between two hosts for hand-overs.

`Letter` and `State` are requests, numbered by the side that makes them; `Got` and `Taken` answer them, and
`Cancel` takes one back. None of them is sent to a peer whose hello does not name `HANDOVER`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from missiond.core import schema
from missiond.core.link.checks import MAX_REASON, BadMessage, Code, Reason, Sequence, Serial, TransferId
from missiond.core.link.message_types import Message
from missiond.core.link.timeouts import MAX_BODY
from missiond.core.schema import Checked, Form, Length
from missiond.errors import AgentError, from_code

HANDOVER = "handover"
"""The word in a hello for a host with knowledge of these kinds."""


def _json_object(value: str) -> str:
    if not value.isascii() and len(value.encode()) > MAX_BODY:
        raise BadMessage(f"not text of at most {MAX_BODY} bytes")
    if type(schema.decode(value)) is not dict:
        raise BadMessage("not a JSON object")
    return value


Step = Annotated[
    str, Form("[a-z][a-z0-9-]{0,31}", "a word of at most 32 lower-case letters, digits and hyphens")
]
Body = Annotated[str, Length(MAX_BODY), Checked(_json_object)]
"""A JSON object as text."""


@dataclass(frozen=True, slots=True)
class HandoverMessage(Message):
    """A message of hand-overs; `n` is the number of the request."""

    n: Serial


@dataclass(frozen=True, slots=True)
class Letter(HandoverMessage):
    """A message from agent to agent about one transfer (32 hexadecimal digits); `body` is a JSON object."""

    transfer: TransferId
    step: Step
    body: Body = field(repr=False)
    kind: ClassVar[str] = "handover"


@dataclass(frozen=True, slots=True)
class State(HandoverMessage):
    """The state of a transfer can be had: `size` bytes in all, from `offset` on."""

    transfer: TransferId
    offset: Sequence
    size: Sequence
    kind: ClassVar[str] = "state"


@dataclass(frozen=True, slots=True)
class Chunk(HandoverMessage):
    """A piece of a state, at `offset`; goes as bytes and not as JSON (`chunk`)."""

    offset: int
    data: bytes | memoryview = field(repr=False)
    kind: ClassVar[str] = "chunk"


@dataclass(frozen=True, slots=True)
class Got(HandoverMessage):
    """State kept up to `offset`: send the next bytes, at most `timeouts.WINDOW`."""

    offset: Sequence
    kind: ClassVar[str] = "got"


@dataclass(frozen=True, slots=True)
class Taken(HandoverMessage):
    """The last word about a request: code 0 for success, else code and text of an error."""

    code: Code = 0
    text: Reason = ""
    kind: ClassVar[str] = "taken"

    @classmethod
    def of(cls, n: int, error: AgentError | None) -> Taken:
        """Return the last word about the request `n`."""
        return cls(n) if error is None else cls(n, int(error.code), error.text[:MAX_REASON])

    @property
    def error(self) -> AgentError | None:
        """The error in the answer; a code unknown to this host is a failure over there."""
        return from_code(self.code, self.text) if self.code else None


@dataclass(frozen=True, slots=True)
class Cancel(HandoverMessage):
    """End of a request by the sender; kept bytes of a state stay."""

    kind: ClassVar[str] = "cancel"
