# SPDX-License-Identifier: Apache-2.0
"""Errors as they travel between hosts: code and text."""

from __future__ import annotations

from missiond.core.carriage.kinds import Taken
from missiond.core.sync.messages import MAX_REASON
from missiond.errors import ERROR_PREFIX, AgentError, Code, DistributedServiceFailed


def error_of(answer: Taken) -> AgentError | None:
    """Return what a peer means; a code that this host does not know is a failure over there."""
    if not answer.code:
        return None
    if answer.code not in Code.__members__.values():
        return DistributedServiceFailed(answer.text)
    code = Code(answer.code)
    kinds: dict[Code, type[AgentError]] = {kind.code: kind for kind in AgentError.__subclasses__()}
    kind = kinds.get(code) or type(code.dbus_name.removeprefix(ERROR_PREFIX), (AgentError,), {"code": code})
    error: AgentError = kind(answer.text)
    return error


def taken(n: int, error: AgentError | None) -> Taken:
    """Return the last word about the request `n`."""
    return Taken(n) if error is None else Taken(n, int(error.code), error.text[:MAX_REASON])
