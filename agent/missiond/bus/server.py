# SPDX-License-Identifier: Apache-2.0
"""Serves objects on a connection: routing, the standard interfaces, signals and the bus name."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from missiond.bus import standard
from missiond.bus.callers import Callers, UnidentifiedCalls
from missiond.bus.connection import Connection
from missiond.bus.dispatcher import CallLimits, Dispatcher
from missiond.bus.fair_queue import FairQueue
from missiond.bus.interface import Interface
from missiond.bus.introspection import InterfaceSpec
from missiond.bus.objects import Bound, Entry, ObjectTree, PropertyChanges
from missiond.bus.variants import shown
from missiond.bus.wire.encode import EncodeError, Typed
from missiond.bus.wire.message import Incoming
from missiond.bus.wire.signature import Value
from missiond.errors import AgentError, SystemServiceFailed, TransactionFailed

_DO_NOT_QUEUE = 4
_PRIMARY_OWNER, _ALREADY_OWNER = 1, 4
_MACHINE_ID_TEXT = re.compile("[0-9a-f]{32}")
_MACHINE_ID = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


class NameTaken(Exception):
    """Somebody else owns the bus name."""


class _StandardError(Exception):
    """An error with a standard name."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


class Server:
    """Server of all method calls on `connection`."""

    def __init__(
        self,
        connection: Connection,
        specs: Mapping[str, InterfaceSpec],
        manager_path: str,
        limits: CallLimits | None = None,
    ) -> None:
        self._connection = connection
        self._specs = specs
        self._manager_path = manager_path
        self._tree = ObjectTree(manager_path)
        self._changes = PropertyChanges(connection, self._tree)
        self._serving = False
        self.callers = Callers(connection)
        """Identities of those who call, and word when they leave."""
        self._person_of: Callable[[int], int] = lambda uid: uid
        self._dispatcher = Dispatcher(connection, self.callers, limits or CallLimits())
        self._standard: dict[tuple[str, str], tuple[str, Callable[[Incoming, Entry | None], None]]] = {
            (standard.PEER, "Ping"): ("", self._ping),
            (standard.PEER, "GetMachineId"): ("", self._get_machine_id),
            (standard.INTROSPECTABLE, "Introspect"): ("", self._introspect),
            (standard.PROPERTIES, "Get"): ("ss", self._get),
            (standard.PROPERTIES, "Set"): ("ssv", self._set),
            (standard.PROPERTIES, "GetAll"): ("s", self._get_all),
            (standard.OBJECT_MANAGER, "GetManagedObjects"): ("", self._get_managed_objects),
        }
        self._strangers = UnidentifiedCalls(self.callers, self._on_call, lambda: self.limits.call_bytes)
        self._line = FairQueue(
            self._person, self.callers.may_ask, self._on_call, self._refuse, connection.is_congested
        )
        self.callers.on_answer(self._line.wake)
        connection.set_call_handler(self._line.put, self._line.wake)

    def count_by(self, person_of: Callable[[int], int]) -> None:
        """Count the calls of all uids with the same number as calls of one person."""
        self._person_of = person_of

    @property
    def limits(self) -> CallLimits:
        """Limits in force; may be replaced at any time."""
        return self._dispatcher.limits

    @limits.setter
    def limits(self, limits: CallLimits) -> None:
        self._dispatcher.limits = limits

    # --- objects

    def add(self, path: str, *interfaces: Interface) -> None:
        """Serve an object; once serving, InterfacesAdded tells of objects below the manager.

        Raises ValueError where there is one already, KeyError for an interface without XML, and TypeError
        for one whose Python class lacks a method.
        """
        bound = {interface.name: Bound(self._specs[interface.name], interface) for interface in interfaces}
        entry = Entry(path, bound)
        self._tree.add(entry)
        if entry.is_shown_to(None):
            self._tell_added(entry)

    def remove(self, path: str) -> None:
        """Serve an object no longer; unknown paths are ignored."""
        entry = self._tree.remove(path)
        if entry is None:
            return
        self._changes.forget(path)
        if entry.is_shown_to(None):
            self._tell_removed(entry)

    def shown(self, path: str, *, everybody: bool) -> None:
        """Announce an object to everybody, or the removal; unknown paths are ignored."""
        entry = self._tree.get(path)
        if entry is not None:
            (self._tell_added if everybody else self._tell_removed)(entry)

    def _tell_added(self, entry: Entry) -> None:
        if self._serving and entry.path.startswith(self._manager_path + "/"):
            self._send_checked(
                lambda check: self._connection.emit(
                    self._manager_path,
                    standard.OBJECT_MANAGER,
                    "InterfacesAdded",
                    "oa{sa{sv}}",
                    (entry.path, _snapshots(entry, None, check=check)),
                )
            )

    def _tell_removed(self, entry: Entry) -> None:
        if self._serving and entry.path.startswith(self._manager_path + "/"):
            body = (entry.path, list(entry.interfaces))
            self._connection.emit(
                self._manager_path, standard.OBJECT_MANAGER, "InterfacesRemoved", "oas", body
            )

    # --- signals

    def emit(
        self, path: str, interface: str, member: str, *args: Value, destination: str | None = None
    ) -> None:
        """Send a signal, to everybody or to `destination` alone.

        Raises KeyError for a signal that the XML does not have and EncodeError for arguments that do not fit.
        """
        signature = self._specs[interface].signals[member]
        self._connection.emit(path, interface, member, signature, args, destination=destination)

    def changed(self, path: str, interface: str, *names: str) -> None:
        """Announce changed properties at the end of this loop turn; unknown objects are ignored.

        EmitsChangedSignal decides: `true` sends the value, `invalidates` the name, the others nothing.
        """
        self._changes.add(path, interface, names)

    async def request_name(self, name: str) -> None:
        """Own a bus name and begin to announce objects.

        Raises NameTaken, and RemoteError when the bus policy forbids it.
        """
        [answer] = await self._connection.call_bus("RequestName", "su", (name, _DO_NOT_QUEUE))
        if answer not in (_PRIMARY_OWNER, _ALREADY_OWNER):
            raise NameTaken(f"{name} is taken: another instance is running")
        self._serving = True

    async def drain(self) -> None:
        """Stop serving: calls in flight and new ones fail with "shutting down"; then everything is sent."""
        self._changes.flush()
        self._dispatcher.refuse()
        self._line.flush()
        self._strangers.flush()
        await self._dispatcher.drain()

    # --- routing

    def _person(self, sender: str) -> int | None:
        caller = self.callers.cached(sender)
        return None if caller is None else self._person_of(caller.uid)

    def _refuse(self, message: Incoming) -> None:
        self._dispatcher.fail(message, "", TransactionFailed("too many calls wait; wait for replies"))

    def _on_call(self, message: Incoming) -> None:
        if not message.sender:
            return
        try:
            self._route(message)
        except _StandardError as error:
            self._connection.reply_error(message, error.name, str(error))
        except AgentError as error:
            self._dispatcher.fail(message, "", error)
        except Exception as error:  # noqa: BLE001
            known = self._tree.get(message.path) is not None
            self._dispatcher.fail(message, f"{message.interface}" if known else "a call", error)

    def _route(self, message: Incoming) -> None:
        if self._dispatcher.draining:
            raise SystemServiceFailed("shutting down")
        entry = self._tree.get(message.path)
        if self._varies(message, entry) and self._strangers.put(message):
            return
        if entry is not None and not entry.is_shown_to(self._uid(message)):
            raise _StandardError(standard.UNKNOWN_OBJECT, f"no object {shown(message.path or '')}")
        interface = message.interface
        if entry is not None:
            if interface is None:
                interface = self._find_interface(message, entry)
            bound = entry.interfaces.get(interface)
            if bound is not None:
                method = bound.methods.get(message.member or "")
                if method is None:
                    raise _StandardError(
                        standard.UNKNOWN_METHOD, f"{interface} has no method {shown(message.member or '')}"
                    )
                self._dispatcher.run(message, method)
                return
        self._route_standard(message, entry, interface)

    def _varies(self, message: Incoming, entry: Entry | None) -> bool:
        """Whether the answer depends on who asks."""
        if entry is not None and entry.varies:
            return True
        if message.member == "GetManagedObjects":
            return any(each.varies for each in self._tree.below(self._manager_path))
        if message.member == "Introspect":
            children = self._tree.children(message.path or "/")
            return any(child is not None and child.varies for _, child in children)
        return False

    def _uid(self, message: Incoming) -> int | None:
        """Who asks; None where that is not known, and nothing depends on it."""
        caller = self.callers.cached(message.sender or "")
        return None if caller is None else caller.uid

    def _find_interface(self, message: Incoming, entry: Entry) -> str:
        """Choose the interface for a call that names none, which the specification allows."""
        member = message.member or ""
        found = [name for name, bound in entry.interfaces.items() if member in bound.methods]
        found += [name for name, known in self._standard if known == member]
        if len(found) > 1:
            raise _StandardError(standard.UNKNOWN_METHOD, f"{shown(member)} is ambiguous, name the interface")
        return found[0] if found else ""

    def _route_standard(self, message: Incoming, entry: Entry | None, interface: str | None) -> None:
        member = message.member or ""
        if interface is None:
            interface = next((name for name, known in self._standard if known == member), "")
        if interface != standard.PEER and not self._tree.exists(message.path):
            raise _StandardError(standard.UNKNOWN_OBJECT, f"no object {shown(message.path or '')}")
        if interface == standard.OBJECT_MANAGER and message.path != self._manager_path:
            raise _StandardError(
                standard.UNKNOWN_INTERFACE, f"{shown(message.path or '')} is no object manager"
            )
        known = self._standard.get((interface, member))
        if known is None:
            name = standard.UNKNOWN_METHOD
            if not interface or any(interface == standard_ for standard_, _ in self._standard):
                raise _StandardError(name, f"no method {shown(member)}")
            raise _StandardError(standard.UNKNOWN_INTERFACE, f"no interface {shown(interface)} here")
        takes, function = known
        if message.signature != takes:
            raise _StandardError(
                standard.INVALID_ARGS, f"{member} takes ({takes}), got ({shown(message.signature)})"
            )
        if message.body_length > self.limits.call_bytes:
            raise _StandardError(standard.INVALID_ARGS, f"{member}: the arguments are too long")
        function(message, entry)

    # --- the standard interfaces

    def _ping(self, message: Incoming, _entry: Entry | None) -> None:
        self._connection.reply(message)

    def _get_machine_id(self, message: Incoming, _entry: Entry | None) -> None:
        """Answer from the files: sd_id128_get_machine(3) knows the first one only."""
        for file in _MACHINE_ID:
            with contextlib.suppress(OSError, ValueError):
                text = file.read_text(encoding="ascii").strip()
                # an image that has never booted has an empty file, or the word "uninitialized"
                if _MACHINE_ID_TEXT.fullmatch(text):
                    self._connection.reply(message, "s", (text,))
                    return
        raise _StandardError(standard.FILE_NOT_FOUND, "this host has no machine id")

    def _introspect(self, message: Incoming, _entry: Entry | None) -> None:
        text = self._tree.introspect(message.path or "/", self._uid(message))
        self._connection.reply(message, "s", (text,))

    def _get(self, message: Incoming, entry: Entry | None) -> None:
        bound, name = self._find_property(message, entry)
        value = bound.snapshot(self._uid(message), check=True).get(name)
        if value is None:
            raise SystemServiceFailed(f"property {name} has no value; see journalctl")
        self._connection.reply(message, "v", (value,))

    def _set(self, message: Incoming, entry: Entry | None) -> None:
        _, name = self._find_property(message, entry)
        raise _StandardError(standard.PROPERTY_READ_ONLY, f"property {name} is read-only")

    def _get_all(self, message: Incoming, entry: Entry | None) -> None:
        [interface] = message.body
        found, uid = self._bound(entry, interface), self._uid(message)

        def values(*, check: bool) -> dict[str, Typed]:
            return {
                name: value for bound in found for name, value in bound.snapshot(uid, check=check).items()
            }

        self._send_checked(lambda check: self._connection.reply(message, "a{sv}", (values(check=check),)))

    def _get_managed_objects(self, message: Incoming, _entry: Entry | None) -> None:
        uid = self._uid(message)
        entries = [each for each in self._tree.below(self._manager_path) if each.is_shown_to(uid)]
        self._send_checked(
            lambda check: self._connection.reply(
                message,
                "a{oa{sa{sv}}}",
                ({entry.path: _snapshots(entry, uid, check=check) for entry in entries},),
            )
        )

    def _bound(self, entry: Entry | None, interface: str) -> list[Bound]:
        """Return what the first argument of Get, Set and GetAll means; an empty one means all."""
        if entry is not None and not interface:
            return list(entry.interfaces.values())
        if entry is not None and interface in entry.interfaces:
            return [entry.interfaces[interface]]
        if entry is not None and any(interface == name for name, _ in self._standard):
            return []
        raise _StandardError(standard.UNKNOWN_INTERFACE, f"no interface {shown(interface)} here")

    def _find_property(self, message: Incoming, entry: Entry | None) -> tuple[Bound, str]:
        interface, name = message.body[:2]
        for bound in self._bound(entry, interface):
            if name in bound.spec.properties:
                return bound, name
        raise _StandardError(standard.UNKNOWN_PROPERTY, f"no property {shown(name)} in {shown(interface)}")

    @staticmethod
    def _send_checked(send: Callable[[bool], None]) -> None:
        """Send property values; when one does not fit its type, send the others."""
        try:
            send(False)
        except EncodeError:
            send(True)


def _snapshots(entry: Entry, uid: int | None, *, check: bool) -> dict[str, dict[str, Typed]]:
    return {name: bound.snapshot(uid, check=check) for name, bound in entry.interfaces.items()}
