# SPDX-License-Identifier: Apache-2.0
"""Errors on the bus: one table of code, D-Bus name and exception.

Every error has a kind (Denied, NotFound, Refused, Invalid, Busy, Failed) for whoever catches it, and the
agent's own have a code.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

ERROR_PREFIX = "org.missiond.Agent1.Error."


class Code(IntEnum):
    """Number in front of every error message; the member's name in CamelCase ends the D-Bus error name."""

    PERMISSION_DENIED = 201
    NOT_SYSTEM_APP = 202
    INVALID_PARAMETER = 401
    MEMORY_FAILED = 9800001
    PARCEL_FAILED = 9800002
    TRANSACTION_FAILED = 9800003
    SYSTEM_SERVICE_FAILED = 9800004
    CONTINUOUS_TASK_VERIFICATION_FAILED = 9800005
    NOTIFICATION_VERIFICATION_FAILED = 9800006
    CONTINUOUS_TASK_STORAGE_FAILED = 9800007
    CALLER_VERIFICATION_FAILED = 9900001
    TRANSIENT_TASK_VERIFICATION_FAILED = 9900002
    RESOURCE_VERIFICATION_FAILED = 18700001
    DISTRIBUTED_SERVICE_FAILED = 16300501
    MISSION_NOT_FOUND = 16300502
    REMOTE_NOT_INSTALLED = 16300503
    REMOTE_NEEDS_FREE_INSTALL = 16300504
    NOT_SOURCE_OR_TARGET = 16300505
    CONTINUE_IN_PROGRESS = 16300506
    NO_MISSION_FOR_APPLICATION = 16300507

    @property
    def dbus_name(self) -> str:
        """Full D-Bus error name."""
        return ERROR_PREFIX + "".join(word.capitalize() for word in self.name.split("_"))


class Error(Exception):
    """Base of all errors of a client; `text` is one sentence on the problem and the remedy."""

    code: ClassVar[Code | None] = None
    """The agent's code; None where the agent was not asked, or did not answer."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


DENIED_BY_POLKIT = "polkit denies "


class Denied(Error):
    """The caller may not do this."""

    @property
    def by_polkit(self) -> bool:
        """Whether polkit might allow the call if let ask the user."""
        return self.text.startswith(DENIED_BY_POLKIT)


class NotFound(Error):
    """There is no such task, mission, process, program or peer."""


class Refused(Error):
    """A refusal for now: by a limit, the quota or the battery."""


class Invalid(Error):
    """An argument has the wrong type, value or name."""


class Busy(Error):
    """The same is under way already, or too much is."""


class Failed(Error):
    """A failure of the agent, of a service needed, or of another host."""


class AgentError(Error):
    """Error for the caller: `str()` is the code, a colon, and a sentence on problem and remedy."""

    code: ClassVar[Code] = Code.SYSTEM_SERVICE_FAILED

    def __str__(self) -> str:
        return f"{int(self.code)}: {self.text}"

    @property
    def dbus_name(self) -> str:
        """Full D-Bus error name."""
        return self.code.dbus_name


class PermissionDenied(Denied, AgentError):
    """The caller may not do this."""

    code = Code.PERMISSION_DENIED


class NotSystemApp(Denied, AgentError):
    """Only uid 0 may do this."""

    code = Code.NOT_SYSTEM_APP


class InvalidParameter(Invalid, AgentError):
    """An argument or option has the wrong type, value or name."""

    code = Code.INVALID_PARAMETER


class MemoryFailed(Failed, AgentError):
    """The host ran out of memory or file descriptors."""

    code = Code.MEMORY_FAILED


class ParcelFailed(Failed, AgentError):
    """A message can't be read or written."""

    code = Code.PARCEL_FAILED


class TransactionFailed(Busy, AgentError):
    """The caller has too many calls under way."""

    code = Code.TRANSACTION_FAILED


class SystemServiceFailed(Failed, AgentError):
    """A failure of the agent or of a service needed."""

    code = Code.SYSTEM_SERVICE_FAILED


class ContinuousTaskVerificationFailed(Refused, AgentError):
    """A continuous task can't be started, or there is none."""

    code = Code.CONTINUOUS_TASK_VERIFICATION_FAILED


class NotificationVerificationFailed(Refused, AgentError):
    """The task has no such notification."""

    code = Code.NOTIFICATION_VERIFICATION_FAILED


class ContinuousTaskStorageFailed(Failed, AgentError):
    """A continuous task can't be written down."""

    code = Code.CONTINUOUS_TASK_STORAGE_FAILED


class CallerVerificationFailed(NotFound, AgentError):
    """The owner process or the request does not exist for this caller."""

    code = Code.CALLER_VERIFICATION_FAILED


class TransientTaskVerificationFailed(Refused, AgentError):
    """A transient request is over a limit."""

    code = Code.TRANSIENT_TASK_VERIFICATION_FAILED


class ResourceVerificationFailed(Refused, AgentError):
    """An efficiency resource can't be had."""

    code = Code.RESOURCE_VERIFICATION_FAILED


class DistributedServiceFailed(Failed, AgentError):
    """A request about other hosts, impossible now."""

    code = Code.DISTRIBUTED_SERVICE_FAILED


class MissionNotFound(NotFound, AgentError):
    """There is no such mission."""

    code = Code.MISSION_NOT_FOUND


class RemoteNotInstalled(NotFound, AgentError):
    """The program of a mission is not on the target, nor is a package known there for the program."""

    code = Code.REMOTE_NOT_INSTALLED


class RemoteNeedsFreeInstall(NotFound, AgentError):
    """The program of a mission is not on the target, but in a package known there."""

    code = Code.REMOTE_NEEDS_FREE_INSTALL


class ContinueInProgress(Busy, AgentError):
    """The mission is being continued already."""

    code = Code.CONTINUE_IN_PROGRESS


class NotSourceOrTarget(Invalid, AgentError):
    """Neither of the two devices is this host."""

    code = Code.NOT_SOURCE_OR_TARGET


class NoMissionForApplication(NotFound, AgentError):
    """The application has no mission on the source."""

    code = Code.NO_MISSION_FOR_APPLICATION


_KINDS: dict[int, type[AgentError]] = {int(kind.code): kind for kind in AgentError.__subclasses__()}
_NUMBERS = {code.dbus_name: int(code) for code in Code}


def from_code(number: int, text: str) -> AgentError:
    """Return the error of a code; DistributedServiceFailed for an unknown one."""
    return _KINDS.get(number, DistributedServiceFailed)(text)


def from_name(dbus_name: str, message: str) -> AgentError | None:
    """Return the error of an error reply of the agent; None for other replies."""
    number = _NUMBERS.get(dbus_name)
    return None if number is None else from_code(number, message.removeprefix(f"{number}: "))
