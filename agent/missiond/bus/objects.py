# SPDX-License-Identifier: Apache-2.0
"""Served objects, and the tree of paths."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from missiond.bus import standard
from missiond.bus.connection import Connection
from missiond.bus.interface import Interface
from missiond.bus.introspection import InterfaceSpec
from missiond.bus.wire.encode import EncodeError, Typed, encode
from missiond.bus.wire.signature import split

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Method:
    """One method of one object, ready to be called."""

    interface: str
    member: str
    takes: str
    gives: str
    results: int
    function: Callable[..., Any]
    is_async: bool
    gives_fds: tuple[int, ...]
    """Indices of results with type `h`."""
    takes_fds: bool = False
    """Whether an argument is one."""
    call_bytes: int = 0
    """Bytes of arguments, where more than the limit of all methods."""


class Bound:
    """One interface of one object, with the XML description."""

    _reported: set[tuple[str, str]] = set()  # noqa: RUF012

    def __init__(self, spec: InterfaceSpec, instance: Interface) -> None:
        self.spec = spec
        self.instance = instance
        self.methods = {member: _method(spec, member, instance) for member in spec.methods}

    def snapshot(self, uid: int | None, *, check: bool = False) -> dict[str, Typed]:
        """Return all properties for this uid, with types; with `check`, only values of the right type.

        A property that is missing or does not fit, or all of them failing, is logged once per process.
        """
        try:
            values = self.instance.properties_for(uid)
        except Exception as error:  # noqa: BLE001
            self._report("*", repr(error))
            return {}
        typed = {}
        for name, (signature, _) in self.spec.properties.items():
            if name not in values:
                self._report(name, "is missing")
                continue
            typed[name] = Typed(signature, values[name])
        return {name: value for name, value in typed.items() if self._fits(name, value)} if check else typed

    def _fits(self, name: str, value: Typed) -> bool:
        try:
            encode("v", (value,))
        except EncodeError as error:
            self._report(name, str(error))
            return False
        return True

    def _report(self, name: str, problem: str) -> None:
        key = (self.spec.name, name)
        if key not in self._reported:
            self._reported.add(key)
            _logger.error("property %s of %s: %s", name, self.spec.name, problem)


def _method(spec: InterfaceSpec, member: str, instance: Interface) -> Method:
    takes, gives = spec.methods[member]
    types = split(gives)
    function = instance.handler(member)
    fds = tuple(index for index, type_ in enumerate(types) if type_ == "h")
    return Method(
        spec.name, member, takes, gives, len(types), function, inspect.iscoroutinefunction(function), fds,
        "h" in split(takes), instance.call_bytes,
    )  # fmt: skip


class Entry:
    """One object."""

    __slots__ = ("interfaces", "path")

    def __init__(self, path: str, interfaces: Mapping[str, Bound]) -> None:
        self.path = path
        self.interfaces = dict(interfaces)

    @property
    def varies(self) -> bool:
        """Whether callers see different things."""
        return any(bound.instance.varies for bound in self.interfaces.values())

    def is_shown_to(self, uid: int | None) -> bool:
        """Return whether a caller of this uid sees the object; None: whether signals announce the object."""
        return all(bound.instance.is_shown_to(uid) for bound in self.interfaces.values())


class ObjectTree:
    """Objects by path; nodes in between exist for as long as something is below."""

    def __init__(self, manager_path: str) -> None:
        self._manager_path = manager_path
        self._objects: dict[str, Entry] = {}
        self._children: dict[str, dict[str, int]] = {}

    def get(self, path: str | None) -> Entry | None:
        """Return the object at `path`."""
        return self._objects.get(path or "")

    def add(self, entry: Entry) -> None:
        """Add an object; raises ValueError where there is one already."""
        if entry.path in self._objects:
            raise ValueError(f"{entry.path}: there is an object already")
        self._objects[entry.path] = entry
        for parent, name in _steps(entry.path):
            children = self._children.setdefault(parent, {})
            children[name] = children.get(name, 0) + 1

    def remove(self, path: str) -> Entry | None:
        """Take an object out, with the nodes above left empty."""
        entry = self._objects.pop(path, None)
        if entry is None:
            return None
        for parent, name in _steps(path):
            children = self._children[parent]
            children[name] -= 1
            if not children[name]:
                del children[name]
            if not children:
                del self._children[parent]
        return entry

    def exists(self, path: str | None) -> bool:
        """Whether there is an object or a node on the way to one."""
        return path in self._objects or path in self._children

    def below(self, path: str) -> Iterator[Entry]:
        """Iterate over the objects under `path`."""
        prefix = path.rstrip("/") + "/"
        return (entry for entry in self._objects.values() if entry.path.startswith(prefix))

    def children(self, path: str) -> Iterator[tuple[str, Entry | None]]:
        """Iterate over the nodes right under `path`: each name, and the object or None."""
        prefix = path.rstrip("/") + "/"
        return ((name, self._objects.get(prefix + name)) for name in self._children.get(path, ()))

    def introspect(self, path: str, uid: int | None) -> str:
        """Return the XML of a node: the shipped interfaces, and the children visible to the uid."""
        parts = [standard.DOCTYPE, "<node>\n", standard.NODE_XML]
        entry = self._objects.get(path)
        if entry is not None:
            parts.append(standard.PROPERTIES_XML)
        if path == self._manager_path:
            parts.append(standard.OBJECT_MANAGER_XML)
        if entry is not None:
            parts.extend(f"{bound.spec.xml}\n" for bound in entry.interfaces.values())
        shown = (name for name, child in self.children(path) if child is None or child.is_shown_to(uid))
        parts.extend(f'  <node name="{name}"/>\n' for name in shown)
        parts.append("</node>\n")
        return "".join(parts)


def _steps(path: str) -> Iterator[tuple[str, str]]:
    """Yield (parent path, child name) from the root down to `path`."""
    parent = "/"
    for name in path.split("/")[1:]:
        if name:
            yield parent, name
            parent = f"{parent.rstrip('/')}/{name}"


class PropertyChanges:
    """Changed properties, announced with the values at the end of the loop turn."""

    def __init__(self, connection: Connection, tree: ObjectTree) -> None:
        self._connection = connection
        self._tree = tree
        self._pending: dict[tuple[str, str], dict[str, None]] = {}

    def add(self, path: str, interface: str, names: Iterable[str]) -> None:
        """Note changed properties; raises KeyError for a name missing in the XML."""
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
        """Drop all notes of a removed object."""
        if self._pending:
            self._pending = {key: names for key, names in self._pending.items() if key[0] != path}

    def flush(self) -> None:
        """Send all noted changes."""
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
            self._connection.emit(path, standard.PROPERTIES, "PropertiesChanged", "sa{sv}as", body)
