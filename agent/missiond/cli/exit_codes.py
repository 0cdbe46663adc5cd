# SPDX-License-Identifier: Apache-2.0
"""Exit statuses of missionctl, one for each answer of the agent."""

from __future__ import annotations

import errno
import re
import shutil
import sys
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path

from missiond import AgentError, Code, Denied, Error, Invalid, Missing, NotFound, Unreachable

DAEMON = "/usr/libexec/missiond"


class Exit(IntEnum):
    """Exit status of a verb; from 125 on of `run` alone, as of env(1) and timeout(1)."""

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


_OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE)
_VERB_OF = {
    "UnlockMission": "unlock",
    "LockMission": "lock",
    "TrustDevice": "peers trust",
    "RequestPairing": "peers pair",
    "SetPeerPermissions": "peers allow",
}
"""What people call methods that the agent's sentences name."""
_METHOD = re.compile(rf"\b({'|'.join(_VERB_OF)})\b( \d+)?")


class CommandError(Exception):
    """Error found by missionctl; `str()` is one sentence with the remedy."""

    def __init__(self, exit_status: Exit, text: str) -> None:
        super().__init__(text)
        self.exit_status = exit_status


def explain(error: Exception, *, session: bool) -> tuple[str, Exit]:
    """Return one sentence with the remedy, and the exit status."""
    if isinstance(error, CommandError):
        return str(error), error.exit_status
    if isinstance(error, AgentError):
        return f"{_for_people(error)} ({int(error.code)})", EXIT_OF[error.code]
    if isinstance(error, Unreachable):
        return f"{error}; {_remedy(error.missing, session=session)}", Exit.UNREACHABLE
    if isinstance(error, Error):
        return _found_by_client(error)
    if isinstance(error, OSError):
        text = error.strerror or str(error) or type(error).__name__
        return (f"cannot write: {text}" if error.errno in _OF_WRITING else text), Exit.FAILURE
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{text}; this is a mistake of missionctl's own, please report it", Exit.FAILURE


def _found_by_client(error: Error) -> tuple[str, Exit]:
    """Return sentence and status of an error without a code of the agent."""
    if isinstance(error, NotFound):
        return error.text, Exit.NOT_FOUND
    if isinstance(error, Invalid):
        return error.text, Exit.USAGE
    return f"{error.text}; see `journalctl -u missiond`", Exit.FAILURE


def _for_people(error: AgentError) -> str:
    """Return the agent's sentence with verbs for methods, and a remedy for a denial."""
    text = _METHOD.sub(lambda found: f"`missionctl {_VERB_OF[found[1]]}{found[2] or ''}`", error.text)
    if isinstance(error, Denied) and error.by_polkit:
        text = text.removesuffix("; see polkit(8)") + "; run it with sudo, or see polkit in missiond(8)"
    return text


def _remedy(missing: Missing, *, session: bool) -> str:
    if missing is Missing.BUS:
        return "is this a session of a desktop?" if session else "start it with `systemctl start dbus`"
    if missing is Missing.CONNECTION:
        return "end some of your programs that are connected to it"
    if session:
        return f"start the agent with `{_daemon()} --session`"
    verb = {Missing.UNIT: "unmask", Missing.ANSWER: "restart"}.get(missing, "start")
    return f"{verb} the agent with `systemctl {verb} missiond`"


def _daemon() -> str:
    """Return how the daemon is called here: by the package, or by pip."""
    if Path(DAEMON).exists():
        return DAEMON
    return "missiond" if shutil.which("missiond") else f"{sys.executable} -m missiond"
