# SPDX-License-Identifier: Apache-2.0
"""The errors that cross the bus: one table of code, D-Bus name and exception."""

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


class AgentError(Exception):
    """An answer to the caller: `str()` is "<code>: <what was wrong and what to do>"."""

    code: ClassVar[Code] = Code.SYSTEM_SERVICE_FAILED

    def __init__(self, text: str) -> None:
        super().__init__(f"{int(self.code)}: {text}")
        self.text = text

    @property
    def dbus_name(self) -> str:
        """Full D-Bus error name."""
        return self.code.dbus_name


class PermissionDenied(AgentError):
    """The caller may not do this."""

    code = Code.PERMISSION_DENIED


class NotSystemApp(AgentError):
    """Only uid 0 may do this."""

    code = Code.NOT_SYSTEM_APP


class InvalidParameter(AgentError):
    """An argument or option has the wrong type, value or name."""

    code = Code.INVALID_PARAMETER


class MemoryFailed(AgentError):
    """The host ran out of memory or file descriptors."""

    code = Code.MEMORY_FAILED


class TransactionFailed(AgentError):
    """The caller has too many calls under way."""

    code = Code.TRANSACTION_FAILED


class SystemServiceFailed(AgentError):
    """The agent or a service that it needs failed."""

    code = Code.SYSTEM_SERVICE_FAILED


class ContinuousTaskVerificationFailed(AgentError):
    """A continuous task can't be started, or there is none."""

    code = Code.CONTINUOUS_TASK_VERIFICATION_FAILED


class NotificationVerificationFailed(AgentError):
    """The task has no such notification."""

    code = Code.NOTIFICATION_VERIFICATION_FAILED


class CallerVerificationFailed(AgentError):
    """The owner process or the request does not exist for this caller."""

    code = Code.CALLER_VERIFICATION_FAILED


class TransientTaskVerificationFailed(AgentError):
    """A transient request is over a limit."""

    code = Code.TRANSIENT_TASK_VERIFICATION_FAILED


class DistributedServiceFailed(AgentError):
    """What concerns other hosts cannot be done now."""

    code = Code.DISTRIBUTED_SERVICE_FAILED


class MissionNotFound(AgentError):
    """There is no such mission."""

    code = Code.MISSION_NOT_FOUND


class RemoteNotInstalled(AgentError):
    """The program of a mission is not on the target, nor is a package known there that has it."""

    code = Code.REMOTE_NOT_INSTALLED


class RemoteNeedsFreeInstall(AgentError):
    """The program of a mission is not on the target, which knows a package that has it."""

    code = Code.REMOTE_NEEDS_FREE_INSTALL


class ContinueInProgress(AgentError):
    """The mission is being continued already."""

    code = Code.CONTINUE_IN_PROGRESS


class NotSourceOrTarget(AgentError):
    """Neither of the two devices is this host."""

    code = Code.NOT_SOURCE_OR_TARGET


class NoMissionForApplication(AgentError):
    """The application has no mission on the source."""

    code = Code.NO_MISSION_FOR_APPLICATION
