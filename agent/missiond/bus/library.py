# SPDX-License-Identifier: Apache-2.0
"""Picks the D-Bus library: dbus-fast when it is installed, else dbus-next.

`MISSIOND_BUS_LIBRARY=dbus-next` or `dbus-fast` in the environment forces one;
ImportError when that one is missing, ValueError for any other value.
"""

from __future__ import annotations

import os
import sys
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from types import ModuleType
from typing import TYPE_CHECKING, Any

from missiond.bus.signature import Value

_MODULES = {"dbus-fast": "dbus_fast", "dbus-next": "dbus_next"}
_KNOWN_FLAGS = (0, 1, 2, 4)


@contextmanager
def _without_glib() -> Iterator[None]:
    """Keep the library from loading PyGObject where that is installed: nobody here uses it."""
    if "gi" in sys.modules:
        yield
        return
    sys.modules["gi"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["gi"]


@contextmanager
def _with_type_check_decorator() -> Iterator[None]:
    """Give dbus-next a decorator helper that Python deprecates in 3.13 and drops in 3.15."""
    if sys.version_info < (3, 13):
        yield
        return
    names = vars(typing)
    saved = names.get("no_type_check_decorator")
    names["no_type_check_decorator"] = lambda decorator: decorator
    try:
        yield
    finally:
        if saved is None:
            del names["no_type_check_decorator"]
        else:
            names["no_type_check_decorator"] = saved


class _Parts:
    """The few modules of the library that are used.

    The package itself imports all that it has, five megabytes of it for nothing, so its `__init__` is passed
    by; whoever imports the package later gets the whole of it.
    """

    Unmarshaller: Any

    def __init__(self, name: str) -> None:
        package = _MODULES[name]
        with _without_glib(), _with_type_check_decorator(), _without_init(package):
            # first, as the modules import each other in a circle
            import_module(f"{package}.errors")
            self.Message = import_module(f"{package}.message").Message
            signature, constants = (
                import_module(f"{package}.signature"),
                import_module(f"{package}.constants"),
            )
            self.Variant, self.SignatureTree = signature.Variant, signature.SignatureTree
            self.MessageType, self.MessageFlag = constants.MessageType, constants.MessageFlag
            self.Unmarshaller = import_module(f"{package}._private.unmarshaller").Unmarshaller


@contextmanager
def _without_init(package: str) -> Iterator[None]:
    """Let submodules be imported without the package's own `__init__`; ImportError where there is none."""
    if package in sys.modules:
        yield
        return
    spec = find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    stand_in = ModuleType(package)
    stand_in.__path__ = list(spec.submodule_search_locations)
    sys.modules[package] = stand_in
    try:
        yield
    finally:
        del sys.modules[package]


def _choose() -> tuple[str, _Parts]:
    forced = os.environ.get("MISSIOND_BUS_LIBRARY", "")
    if forced and forced not in _MODULES:
        raise ValueError(f"MISSIOND_BUS_LIBRARY={forced}: expected dbus-next or dbus-fast")
    if forced != "dbus-next":
        try:
            return "dbus-fast", _Parts("dbus-fast")
        except ImportError:
            if forced:
                raise
    return "dbus-next", _Parts("dbus-next")


def describe() -> str:
    """Name and version of the library in use, for example `dbus-fast 1.84.2`."""
    from importlib import metadata  # noqa: PLC0415  (costs a megabyte, and only people ask)

    try:
        return f"{NAME} {metadata.version(NAME)}"
    except metadata.PackageNotFoundError:
        return f"{NAME} unknown"


NAME, _library = _choose()
"""`dbus-fast` or `dbus-next`."""

if TYPE_CHECKING:

    class Variant:
        """A D-Bus variant: one value with its signature."""

        signature: str
        value: Value

        def __init__(self, signature: str, value: Value) -> None: ...

    Message: Any
    MessageBus: Any
    MessageType: Any
    MessageFlag: Any
else:
    Variant = _library.Variant
    Message = _library.Message
    MessageType = _library.MessageType
    MessageFlag = _library.MessageFlag


def __getattr__(name: str) -> Value:
    """`MessageBus`, the library's own connection, is loaded when it is asked for: the agent never does."""
    if name != "MessageBus":
        raise AttributeError(name)
    with _without_glib(), _with_type_check_decorator():
        return import_module(f"{_MODULES[NAME]}.aio").MessageBus


_unmarshaller = _library.Unmarshaller


def _decode_fast(frame: bytes, _start: int, signature: str) -> list[Any]:
    if frame[2] not in _KNOWN_FLAGS:
        # dbus-fast 1.84 raises KeyError for two flags at once
        frame = frame[:2] + b"\0" + frame[3:]
    message = _unmarshaller(BytesIO(frame)).unmarshall()
    if message is None:
        raise ValueError("incomplete message")
    return [_structs_as_lists(value) for value in message.body] if "(" in signature else list(message.body)


def _structs_as_lists(value: Value) -> Value:
    """Give structs the type that they have everywhere else: dbus-fast 5 makes tuples of them."""
    if isinstance(value, tuple | list):
        return [_structs_as_lists(member) for member in value]
    if isinstance(value, dict):
        return {key: _structs_as_lists(member) for key, member in value.items()}
    return value


def _decode_next(frame: bytes, start: int, signature: str) -> list[Any]:
    reader = _unmarshaller(None)
    reader.buf = bytearray(frame[start:])
    reader.endian = frame[0]
    tree = _library.SignatureTree._get(signature)
    return [reader.read_argument(type_) for type_ in tree.types]


decode_body = _decode_fast if NAME == "dbus-fast" else _decode_next
"""`decode_body(frame, start, signature)`: arguments of a whole message whose body begins at `start`."""
