# SPDX-License-Identifier: Apache-2.0
"""The messages of the two hosts about a transfer: a step and a JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

from missiond.core import schema
from missiond.core.handover.record import (
    MAX_REASON,
    Along,
    Description,
    Fence,
    Id,
    Number,
    Reason,
    Sha256,
    Tasks,
    WantParam,
)
from missiond.core.link.checks import BadMessage, Name
from missiond.core.schema import I63, Later, Range

__all__ = ["MAX_REASON", "Step", "parse"]

_Size = Annotated[int, Range(0, I63)]


class Step(StrEnum):
    """The kinds of messages; from source to target unless said otherwise."""

    PULL = "pull"
    """Target to source: a request to offer a mission."""
    OFFER = "offer"
    INSTALLING = "installing"
    """Target to source: the progress of installing the program; no answer follows."""
    ACCEPTED = "accepted"
    """Target to source: the mission could be started here."""
    STATE = "state"
    """The state is about to follow; with `resume`, say from where on."""
    RECEIVED = "received"
    """Target to source: go on from this offset."""
    PREPARED = "prepared"
    """Target to source: all is on disk; commit or abort?"""
    COMMIT = "commit"
    ABORT = "abort"
    """The end of an offer, or, with a higher fence, the recall of a mission."""
    STARTED = "started"
    """Target to source."""
    REFUSED = "refused"
    """From either: no, to an offer or a pull. After COMMIT: the start has failed for good."""
    SETTLED = "settled"
    """The outcome is known here; forget the transfer."""
    UNKNOWN = "unknown"
    """From either: there is no such transfer here. Never answered."""


BEGINS = frozenset({Step.OFFER.value, Step.PULL.value})
"""Steps to begin a hand-over: an offer to this host, or a request for one of the missions here."""


@dataclass
class _Nothing:
    pass


@dataclass
class _Pull:
    mission: Number
    app_id: Name
    want: WantParam
    keep_source: bool
    free_install: bool
    tasks: Later[Tasks] = "with"


@dataclass
class _Offer:
    mission: Number
    identity: Id
    fence: Annotated[int, Range(1, I63)]
    description: Description
    want: WantParam
    keep_source: bool
    free_install: bool
    pulled: bool
    along: Later[Along] = field(default_factory=dict)
    tasks: Later[Tasks] = "with"


@dataclass
class _Installing:
    percent: Annotated[int, Range(0, 100)]


@dataclass
class _Accepted:
    along: Later[bool] = False
    """Whether the target knows `along` of an offer."""


@dataclass
class _State:
    size: _Size
    sha256: Sha256
    resume: bool


@dataclass
class _Received:
    offset: _Size


@dataclass
class _Prepared:
    sha256: Sha256
    identity: Id
    fence: Fence


@dataclass
class _Commit:
    fence: Fence


@dataclass
class _Abort:
    code: _Size
    reason: Reason
    fence: Fence


@dataclass
class _Started:
    identity: Id
    fence: Fence
    note: Later[Reason] = ""
    """Parts of `along` that could not be had."""


@dataclass
class _Refused:
    code: Annotated[int, Range(1, I63)]
    reason: Reason
    fence: Fence


_BODIES: Mapping[Step, type] = {
    Step.PULL: _Pull,
    Step.OFFER: _Offer,
    Step.INSTALLING: _Installing,
    Step.ACCEPTED: _Accepted,
    Step.STATE: _State,
    Step.RECEIVED: _Received,
    Step.PREPARED: _Prepared,
    Step.COMMIT: _Commit,
    Step.ABORT: _Abort,
    Step.STARTED: _Started,
    Step.REFUSED: _Refused,
    Step.SETTLED: _Nothing,
    Step.UNKNOWN: _Nothing,
}


def parse(step: str, body: Mapping[str, Any]) -> tuple[Step, dict[str, Any]] | None:
    """Check a message of a peer, without members unknown here; None for an unknown step.

    Raises BadMessage.
    """
    try:
        known = Step(step)
    except ValueError:
        return None
    try:
        return known, dict(vars(schema.load(_BODIES[known], dict(body))))
    except BadMessage as error:
        raise BadMessage(f"{known.value}: {error}") from None
