# SPDX-License-Identifier: Apache-2.0
"""Interfaces of our objects, and calls as the methods see a call."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from missiond.bus.callers import Caller, Callers
from missiond.bus.wire.message import ALLOW_INTERACTIVE_AUTHORIZATION, Incoming
from missiond.common.blocking_io import close_all
from missiond.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Callable

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def python_name(member: str) -> str:
    """Name of the Python method for a D-Bus member: `RequestSuspendDelay` is `request_suspend_delay`."""
    return _WORD.sub("_", member).lower()


class Interface:
    """Base of one interface of one object.

    The D-Bus method `RequestSuspendDelay` is the Python method
    `request_suspend_delay(self, call, *arguments)`, sync or async, returning
    None, one value, or a tuple when there are several results.  It may raise
    AgentError; anything else is an internal error.  A sync method is answered
    at once and must not block.  A result of type `h` is a file descriptor that
    stays the method's own: it is duplicated before the method's reply is sent.
    An argument of type `h` is a number for `call.take_fd` or `call.lend_fd`.  They
    come only where the server's connection was opened with `fds`.
    """

    name: ClassVar[str]
    """Interface name, as in the XML."""
    call_bytes: ClassVar[int] = 0
    """Bytes of arguments of one call, where more than the server's limit: for interfaces kept by the bus
    policy for services of ours."""

    parts: tuple[object, ...] = ()
    """Further objects with methods of this interface."""

    @property
    def varies(self) -> bool:
        """Whether `properties_for` and `is_shown_to` depend on the caller."""
        return False

    def properties(self) -> dict[str, Any]:
        """Return all properties now, as plain values (inner `v` values as Variants); must not fail.

        A missing or mistyped one is left out of GetAll and logged.
        """
        return {}

    def properties_for(self, _uid: int | None) -> dict[str, Any]:
        """Return all properties for a caller of this uid; None: as in signals to everybody."""
        return self.properties()

    def is_shown_to(self, _uid: int | None) -> bool:
        """Return whether a caller of this uid sees the object; None: whether signals announce the object."""
        return True

    def handler(self, member: str) -> Callable[..., Any]:
        """Return the Python method for a D-Bus method, of this object or a part; raises TypeError."""
        for part in (self, *self.parts):
            method = getattr(part, python_name(member), None)
            if callable(method):
                return method  # type: ignore[no-any-return]
        raise TypeError(f"{type(self).__name__} has no method {python_name(member)} for {self.name}.{member}")


class Call:
    """One method call being served."""

    __slots__ = ("_callers", "_fds", "message")

    def __init__(self, message: Incoming, callers: Callers, *, takes_fds: bool = False) -> None:
        self.message = message
        self._callers = callers
        self._fds: dict[int, int] = dict(enumerate(message.take_fds())) if takes_fds else {}

    def take_fd(self, index: int) -> int:
        """Hand a descriptor over to the method, to be closed there, best with `aside`.

        Raises InvalidParameter where there is none: this connection does not take any at all times.
        """
        fd = self._fds.pop(index, None)
        if fd is None:
            raise InvalidParameter("there came no file with the call, or nobody waits for one")
        return fd

    def lend_fd(self, index: int) -> int:
        """Return a descriptor; closed at the end of the call. Raises InvalidParameter."""
        fd = self._fds.get(index)
        if fd is None:
            raise InvalidParameter("the call came without the file descriptor that it names")
        return fd

    def close(self) -> None:
        """Close the descriptors left at the end of the call."""
        fds, self._fds = self._fds, {}
        close_all(list(fds.values()))

    @property
    def sender(self) -> str:
        """Unique name of the caller."""
        return self.message.sender or ""

    @property
    def interactive(self) -> bool:
        """Whether the caller agrees to be asked for authentication."""
        return bool(self.message.flags & ALLOW_INTERACTIVE_AUTHORIZATION)

    @property
    def path(self) -> str:
        """Path of the called object."""
        return self.message.path or ""

    @property
    def interface(self) -> str:
        """Interface named in the call, or empty."""
        return self.message.interface or ""

    @property
    def member(self) -> str:
        """Name of the called method."""
        return self.message.member or ""

    async def caller(self) -> Caller:
        """Return the caller; raises CallerVerificationFailed where nobody can tell (any more)."""
        return self._callers.cached(self.sender) or await self._callers.identify(self.sender)

    def caller_now(self) -> Caller | None:
        """Return the caller if already known."""
        return self._callers.cached(self.sender)


__all__ = ["Call", "Caller", "Interface", "python_name"]
