# SPDX-License-Identifier: Apache-2.0
"""Owners of bus names, followed by NameOwnerChanged."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from missiond.common.log_limiter import LogLimiter
from missiond.common.subscription import Subscription

if TYPE_CHECKING:
    from missiond.bus.connection import Connection

ChangeCallback = Callable[[str, str], None]
"""Called with (old_owner, new_owner); an empty string is no owner."""
Hook = Callable[[str, str, str], None]

_throttle = LogLimiter(logging.getLogger(__name__))


def owner_rule(name: str) -> str:
    """Match rule for changes of one name."""
    return (
        "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
        f"interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='{name}'"
    )


class _Watched:
    __slots__ = ("callbacks", "changes", "owner")

    def __init__(self) -> None:
        self.owner: str | None = None
        self.changes = 0
        self.callbacks: list[ChangeCallback] = []


class Names:
    """Owners of watched names."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._watched: dict[str, _Watched] = {}
        self._hooks: list[Hook] = []

    def on_change(self, hook: Hook) -> None:
        """Call `hook` with (name, old_owner, new_owner) for every change told by the bus."""
        self._hooks.append(hook)

    def owner(self, name: str) -> str | None:
        """Return the unique name of a watched name's owner, as last told by the bus."""
        watched = self._watched.get(name)
        return watched.owner if watched is not None else None

    def changes(self, name: str) -> int:
        """Return how often a watched name has changed hands."""
        watched = self._watched.get(name)
        return watched.changes if watched is not None else 0

    def watch(self, name: str, callback: ChangeCallback) -> Subscription:
        """Follow one name."""
        watched = self._watched.setdefault(name, _Watched())
        watched.callbacks.append(callback)
        self._connection.add_match(owner_rule(name))

        def undo() -> None:
            watched.callbacks.remove(callback)
            if not watched.callbacks:
                self._watched.pop(name, None)
            self._connection.remove_match(owner_rule(name))

        return Subscription(undo)

    async def settle(self, name: str) -> None:
        """Ask for the present owner of a watched name; changes follow. Raises RemoteError."""
        owner = await self._connection.name_owner(name)
        watched = self._watched.get(name)
        if watched is not None:
            watched.owner = owner

    def changed(self, name: str, old: str, new: str) -> None:
        """Take in one NameOwnerChanged of the bus."""
        for hook in self._hooks:
            hook(name, old, new)
        watched = self._watched.get(name)
        if watched is None:
            return
        watched.owner = new or None
        watched.changes += 1
        for callback in tuple(watched.callbacks):
            try:
                callback(old, new)
            except Exception:  # noqa: BLE001
                _throttle.exception("a watcher of %s failed", name)
