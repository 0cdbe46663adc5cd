# SPDX-License-Identifier: Apache-2.0
"""Temporary loss of a capability (capabilities(7)); Python has no call for this."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator

_VERSION = 0x20080522
_SYS_RESOURCE = 24
_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Set(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


@contextlib.contextmanager
def without_resource() -> Iterator[None]:
    """Run a block without CAP_SYS_RESOURCE in this thread; raises OSError where the kernel refuses."""
    header = _Header(_VERSION, threading.get_native_id())
    sets = (_Set * 2)()
    _call("capget", header, sets)
    had = sets[0].effective
    sets[0].effective = had & ~(1 << _SYS_RESOURCE)
    _call("capset", header, sets)
    try:
        yield
    finally:
        sets[0].effective = had
        _call("capset", header, sets)


def _call(name: str, header: _Header, sets: ctypes.Array[_Set]) -> None:
    if getattr(_libc, name)(ctypes.byref(header), sets) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
