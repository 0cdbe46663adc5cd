# SPDX-License-Identifier: Apache-2.0
"""The two parts of dbus-next in use: variants, and the decoder of message bodies."""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from missiond.bus.wire.signature import Value

_PACKAGE = "dbus_next"


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


@contextmanager
def _without_init() -> Iterator[None]:
    """Let submodules be imported without the package's own `__init__`; ImportError where there is none.

    The package imports all that it has, five megabytes of it for nothing; whoever imports the package later
    gets the whole of it.
    """
    if _PACKAGE in sys.modules:
        yield
        return
    spec = find_spec(_PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"No module named {_PACKAGE!r}", name=_PACKAGE)
    stand_in = ModuleType(_PACKAGE)
    stand_in.__path__ = list(spec.submodule_search_locations)
    sys.modules[_PACKAGE] = stand_in
    try:
        yield
    finally:
        del sys.modules[_PACKAGE]


def _parts() -> tuple[Any, Any, Any]:
    with _without_glib(), _with_type_check_decorator(), _without_init():
        # first, as the modules import each other in a circle
        import_module(f"{_PACKAGE}.errors")
        signature = import_module(f"{_PACKAGE}.signature")
        unmarshaller = import_module(f"{_PACKAGE}._private.unmarshaller")
    return signature.Variant, signature.SignatureTree, unmarshaller.Unmarshaller


_variant, _signature_tree, _unmarshaller = _parts()

if TYPE_CHECKING:

    class Variant:
        """A D-Bus variant: one value with its signature."""

        signature: str
        value: Value

        def __init__(self, signature: str, value: Value) -> None: ...
else:
    Variant = _variant


def decode_body(frame: bytes, start: int, signature: str) -> list[Any]:
    """Return the arguments of a whole message, from the body at `start`."""
    reader = _unmarshaller(None)
    reader.buf = bytearray(frame[start:])
    reader.endian = frame[0]
    return [reader.read_argument(type_) for type_ in _signature_tree._get(signature).types]
