# SPDX-License-Identifier: Apache-2.0
"""Errors between hosts: code and text."""

from __future__ import annotations

from missiond.core.link.checks import MAX_REASON
from missiond.core.link.letters import Taken
from missiond.errors import AgentError, from_code


def error_of(answer: Taken) -> AgentError | None:
    """Return the error in an answer; a code unknown to this host is a failure over there."""
    if not answer.code:
        return None
    return from_code(answer.code, answer.text)


def taken(n: int, error: AgentError | None) -> Taken:
    """Return the last word about the request `n`."""
    return Taken(n) if error is None else Taken(n, int(error.code), error.text[:MAX_REASON])
