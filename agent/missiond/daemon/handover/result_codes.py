# SPDX-License-Identifier: Apache-2.0
"""What ContinueDone says of an error."""

from __future__ import annotations

from missiond.errors import AgentError, Code

FAILED = int(Code.DISTRIBUTED_SERVICE_FAILED)
_LEAST, _MOST = int(Code.DISTRIBUTED_SERVICE_FAILED), int(Code.NO_MISSION_FOR_APPLICATION)


def outcome(error: BaseException) -> tuple[int, str]:
    """Return a code of those that ContinueDone has, 16300501 for all that is none of them, and the reason."""
    if not isinstance(error, AgentError):
        return FAILED, f"the agent failed ({type(error).__name__}); see its journal"
    code = int(error.code)
    return (code if _LEAST <= code <= _MOST else FAILED), error.text
