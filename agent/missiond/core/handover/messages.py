# SPDX-License-Identifier: Apache-2.0
"""The messages of the two hosts about a transfer: a step and a JSON object."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from missiond.core.handover.record import TASKS
from missiond.core.link.checks import I63, U32, BadMessage, Check, boolean, number, one_of, text

MAX_WANT = 100_000
"""Bytes of want_param as JSON (upstream's guide: less than 100 KB)."""
MAX_DESCRIPTION = 512 * 1024
"""Bytes of a launch description as JSON."""
MAX_ALONG = 256 * 1024
"""Bytes of `along` as JSON."""
MAX_REASON = 1024
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


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


def json_size(value: Mapping[str, Any]) -> int:
    """Return the bytes of a value as JSON; raises TypeError, ValueError for values beyond JSON."""
    return len(json.dumps(value, allow_nan=False, separators=(",", ":")).encode())


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if type(value) is not str or not pattern.fullmatch(value):
            raise BadMessage(f"not {what}")
        return value

    return check


def _opaque(most: int) -> Callable[[object], dict[str, Any]]:
    def check(value: object) -> dict[str, Any]:
        if type(value) is not dict:
            raise BadMessage("not an object")
        try:
            size = json_size(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise BadMessage("not what JSON can express") from error
        if size > most:
            raise BadMessage(f"an object of more than {most} bytes")
        return value

    return check


random_id = _matching(_ID, "32 hexadecimal digits")
sha256 = _matching(_SHA256, "64 hexadecimal digits")
_code = number(0, I63)
_reason = text(MAX_REASON)
_mission = number(0, U32)
_fence = number(0, I63)
want_param = _opaque(MAX_WANT)
description = _opaque(MAX_DESCRIPTION)
along = _opaque(MAX_ALONG)

_CHECKS: Mapping[Step, Mapping[str, Check]] = {
    Step.PULL: {
        "mission": _mission,
        "app_id": text(255),
        "want": want_param,
        "keep_source": boolean,
        "free_install": boolean,
    },
    Step.OFFER: {
        "mission": _mission,
        "identity": random_id,
        "fence": number(1, I63),
        "description": description,
        "want": want_param,
        "keep_source": boolean,
        "free_install": boolean,
        "pulled": boolean,
    },
    Step.INSTALLING: {"percent": number(0, 100)},
    Step.ACCEPTED: {},
    Step.STATE: {"size": number(0, I63), "sha256": sha256, "resume": boolean},
    Step.RECEIVED: {"offset": number(0, I63)},
    Step.PREPARED: {"sha256": sha256, "identity": random_id, "fence": _fence},
    Step.COMMIT: {"fence": _fence},
    Step.ABORT: {"code": _code, "reason": _reason, "fence": _fence},
    Step.STARTED: {"identity": random_id, "fence": _fence},
    Step.REFUSED: {"code": number(1, I63), "reason": _reason, "fence": _fence},
    Step.SETTLED: {},
    Step.UNKNOWN: {},
}


_LATER: Mapping[Step, Mapping[str, tuple[Check, Any]]] = {
    Step.PULL: {"tasks": (one_of(*TASKS), "with")},
    Step.OFFER: {"along": (along, {}), "tasks": (one_of(*TASKS), "with")},
    Step.ACCEPTED: {"along": (boolean, False)},
    Step.STARTED: {"note": (text(MAX_REASON), "")},
}
"""Members that earlier versions neither send nor know, with what they mean where they are not there.

`along` of ACCEPTED: that the target knows what goes along; `note`: what of it could not be had.
"""


def parse(step: str, body: Mapping[str, Any]) -> tuple[Step, dict[str, Any]] | None:
    """Check a message of a peer, without members unknown here; None for an unknown step.

    Raises BadMessage.
    """
    try:
        known = Step(step)
    except ValueError:
        return None
    checks = _CHECKS[known]
    if not checks.keys() <= body.keys():
        raise BadMessage(f"a message {known.value!r} that lacks something")
    later = _LATER.get(known, {})
    found = {name: check(body[name]) for name, check in checks.items()}
    return known, found | {
        name: check(body[name]) if name in body else default for name, (check, default) in later.items()
    }
