# SPDX-License-Identifier: Apache-2.0
"""Records as JSON objects and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from missiond.core.handover import messages
from missiond.core.handover.record import DURABLE, TASKS, Phase, Record, Role
from missiond.core.link.checks import I63, U32, BadMessage, Check, boolean, number, one_of, text


def _or_empty(check: Check) -> Check:
    return lambda value: value if value == "" else check(value)


_CHECKS: Mapping[str, Check] = {
    "transfer": messages.random_id,
    "role": lambda value: Role(one_of(*Role)(value)),
    "phase": lambda value: Phase(one_of(*DURABLE)(value)),
    "peer": text(64),
    "mission": number(0, U32),
    "app_id": text(255),
    "identity": _or_empty(messages.random_id),
    "fence": number(0, I63),
    "description": messages.description,
    "want": messages.want_param,
    "along": messages.along,
    "tasks": one_of(*TASKS),
    "note": text(messages.MAX_REASON),
    "continuation": number(0, U32),
    "asked_here": boolean,
    "keep_source": boolean,
    "free_install": boolean,
    "has_owner": boolean,
    "relaunch": boolean,
    "size": number(0, I63),
    "sha256": _or_empty(messages.sha256),
    "result": number(0, I63),
    "reason": text(messages.MAX_REASON),
    "told": boolean,
}


_NEW = frozenset({"along", "tasks", "note"})
"""What records of earlier versions do not have."""


def to_json(record: Record) -> dict[str, Any]:
    """Return a record as a JSON object."""
    return {item.name: getattr(record, item.name) for item in dataclasses.fields(record)}


def from_json(value: Mapping[str, Any]) -> Record:
    """Return the record of a JSON object; raises BadMessage (a ValueError), also for unknown members."""
    if value.keys() | _NEW != _CHECKS.keys():
        raise BadMessage("not the members of a record")
    return Record(**{name: _CHECKS[name](given) for name, given in value.items()})  # type: ignore[arg-type]
