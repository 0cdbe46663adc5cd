# SPDX-License-Identifier: Apache-2.0
"""Exit statuses of missionctl, and what each answer of the agent becomes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from missiond.errors import AgentError, Code

DAEMON = "/usr/libexec/missiond"


class Exit(IntEnum):
    """The first seven are of every verb but `run`, the rest of `run` (as env(1) and timeout(1) have them)."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    UNREACHABLE = 3
    DENIED = 4
    NOT_FOUND = 5
    REFUSED = 6
    NOT_STARTED = 125
    NOT_EXECUTABLE = 126
    COMMAND_NOT_FOUND = 127


MEANING: Mapping[Exit, str] = {
    Exit.OK: "done",
    Exit.FAILURE: "the agent, or a service that it needs, failed",
    Exit.USAGE: "wrong usage, or a value that the agent does not accept",
    Exit.UNREACHABLE: "the agent cannot be reached",
    Exit.DENIED: "not allowed",
    Exit.NOT_FOUND: "no such task, mission or process",
    Exit.REFUSED: "refused by a limit, the quota or the battery",
    Exit.NOT_STARTED: "run: the command was not started",
    Exit.NOT_EXECUTABLE: "run: the command cannot be executed",
    Exit.COMMAND_NOT_FOUND: "run: there is no such command",
}

EXIT_OF: Mapping[Code, Exit] = {
    Code.PERMISSION_DENIED: Exit.DENIED,
    Code.NOT_SYSTEM_APP: Exit.DENIED,
    Code.INVALID_PARAMETER: Exit.USAGE,
    Code.MEMORY_FAILED: Exit.FAILURE,
    Code.PARCEL_FAILED: Exit.FAILURE,
    Code.TRANSACTION_FAILED: Exit.FAILURE,
    Code.SYSTEM_SERVICE_FAILED: Exit.FAILURE,
    Code.CONTINUOUS_TASK_VERIFICATION_FAILED: Exit.REFUSED,
    Code.NOTIFICATION_VERIFICATION_FAILED: Exit.REFUSED,
    Code.CONTINUOUS_TASK_STORAGE_FAILED: Exit.FAILURE,
    Code.CALLER_VERIFICATION_FAILED: Exit.NOT_FOUND,
    Code.TRANSIENT_TASK_VERIFICATION_FAILED: Exit.REFUSED,
    Code.RESOURCE_VERIFICATION_FAILED: Exit.REFUSED,
    Code.DISTRIBUTED_SERVICE_FAILED: Exit.FAILURE,
    Code.MISSION_NOT_FOUND: Exit.NOT_FOUND,
    Code.REMOTE_NOT_INSTALLED: Exit.NOT_FOUND,
    Code.REMOTE_NEEDS_FREE_INSTALL: Exit.NOT_FOUND,
    Code.NOT_SOURCE_OR_TARGET: Exit.USAGE,
    Code.CONTINUE_IN_PROGRESS: Exit.REFUSED,
    Code.NO_MISSION_FOR_APPLICATION: Exit.NOT_FOUND,
}


class CommandError(Exception):
    """What missionctl itself finds wrong; `str()` is one sentence with the remedy."""

    def __init__(self, exit_status: Exit, text: str) -> None:
        super().__init__(text)
        self.exit_status = exit_status


def explain(error: Exception, *, session: bool) -> tuple[str, Exit]:
    """One sentence with the remedy, and the exit status."""
    if isinstance(error, CommandError):
        return str(error), error.exit_status
    if isinstance(error, AgentError):
        return f"{error.text} ({int(error.code)})", EXIT_OF[error.code]
    if isinstance(error, ConnectionError):
        remedy = f"`{DAEMON} --session`" if session else "`systemctl start missiond`"
        return f"{error}; start the agent with {remedy}", Exit.UNREACHABLE
    return f"{str(error) or type(error).__name__}; see `journalctl -u missiond`", Exit.FAILURE
