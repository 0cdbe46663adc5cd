# SPDX-License-Identifier: Apache-2.0
"""PropertiesChanged: one signal for each object and interface and loop turn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from missiond.bus.connection import Connection
from missiond.bus.objects import Bound, ObjectTree
from missiond.bus.standard import PROPERTIES
from missiond.bus.wire.encode import EncodeError


class PropertyChanges:
    """Collects what has changed and tells it at the end of the loop turn, with the values of then."""

    def __init__(self, connection: Connection, tree: ObjectTree) -> None:
        self._connection = connection
        self._tree = tree
        self._pending: dict[tuple[str, str], dict[str, None]] = {}

    def add(self, path: str, interface: str, names: Iterable[str]) -> None:
        """Note that properties have changed; raises KeyError for a name that the XML does not have."""
        entry = self._tree.get(path)
        bound = entry.interfaces.get(interface) if entry is not None else None
        if bound is None:
            return
        emitted = [name for name in names if bound.spec.properties[name][1] in ("true", "invalidates")]
        if not emitted:
            return
        if not self._pending:
            asyncio.get_running_loop().call_soon(self.flush)
        self._pending.setdefault((path, interface), {}).update(dict.fromkeys(emitted))

    def forget(self, path: str) -> None:
        """Drop what was noted for an object that goes."""
        if self._pending:
            self._pending = {key: names for key, names in self._pending.items() if key[0] != path}

    def flush(self) -> None:
        """Send what was noted."""
        pending, self._pending = self._pending, {}
        for (path, interface), names in pending.items():
            entry = self._tree.get(path)
            bound = entry.interfaces.get(interface) if entry is not None else None
            if entry is None or bound is None or not entry.is_shown_to(None):
                continue
            try:
                self._emit(path, bound, names, check=False)
            except EncodeError:
                self._emit(path, bound, names, check=True)

    def _emit(self, path: str, bound: Bound, names: Iterable[str], *, check: bool) -> None:
        properties = bound.spec.properties
        invalidated = [name for name in names if properties[name][1] == "invalidates"]
        wanted = [name for name in names if properties[name][1] == "true"]
        values = bound.snapshot(None, check=check) if wanted else {}
        changed = {name: values[name] for name in wanted if name in values}
        if changed or invalidated:
            body = (bound.spec.name, changed, invalidated)
            self._connection.emit(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", body)
