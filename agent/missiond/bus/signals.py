# SPDX-License-Identifier: Apache-2.0
"""Received signals and listeners."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from missiond.bus.wire.message import Incoming
from missiond.common.log_limiter import LogLimiter

Callback = Callable[..., None]
"""Called with the arguments of the signal."""

_throttle = LogLimiter(logging.getLogger(__name__))


class _Wanted(NamedTuple):
    is_from: Callable[[str | None], bool]
    path: str | None
    arg0: str | None
    callback: Callback

    def matches(self, message: Incoming) -> bool:
        if self.path is not None and self.path != message.path:
            return False
        if not self.is_from(message.sender):
            return False
        return self.arg0 is None or (bool(message.body) and message.body[0] == self.arg0)


class SignalHandlers:
    """Listeners by interface and member; a signal without listeners is not even decoded."""

    def __init__(self) -> None:
        self._wanted: dict[tuple[str, str], list[_Wanted]] = {}

    def add(
        self,
        interface: str,
        member: str,
        is_from: Callable[[str | None], bool],
        path: str | None,
        arg0: str | None,
        callback: Callback,
    ) -> Callable[[], None]:
        """Register a callback and return a function to remove the callback."""
        wanted = _Wanted(is_from, path, arg0, callback)
        listeners = self._wanted.setdefault((interface, member), [])
        listeners.append(wanted)

        def remove() -> None:
            listeners.remove(wanted)
            if not listeners:
                self._wanted.pop((interface, member), None)

        return remove

    def dispatch(self, message: Incoming) -> None:
        """Call the listeners of this signal."""
        listeners = self._wanted.get((message.interface or "", message.member or ""))
        for wanted in tuple(listeners or ()):
            try:
                if wanted.matches(message):
                    arguments: list[Any] = message.body
                    wanted.callback(*arguments)
            except Exception:  # noqa: BLE001
                _throttle.exception("a listener to %s.%s failed", message.interface, message.member)
