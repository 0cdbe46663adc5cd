# SPDX-License-Identifier: Apache-2.0
"""libsystemd's D-Bus client, so that what is measured is the service and hardly the one who asks."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import POINTER, byref, c_char_p, c_int, c_uint32, c_uint64, c_void_p

LOGIND = (b"org.freedesktop.login1", b"/org/freedesktop/login1", b"org.freedesktop.login1.Manager")
TASKS = (b"org.missiond.Agent1", b"/org/missiond/Agent1", b"org.missiond.Agent1.BackgroundTaskManager")
MISSIONS = (*TASKS[:2], b"org.missiond.Agent1.DistributedMissionManager")
BUS = (b"org.freedesktop.DBus", b"/org/freedesktop/DBus", b"org.freedesktop.DBus")


class _Error(ctypes.Structure):
    """sd_bus_error(3)."""

    _fields_ = (("name", c_char_p), ("message", c_char_p), ("need_free", c_int))


_lib = ctypes.CDLL("libsystemd.so.0")
_lib.sd_bus_open_system.argtypes = [POINTER(c_void_p)]
_lib.sd_bus_message_unref.argtypes = [c_void_p]
_lib.sd_bus_message_unref.restype = c_void_p
_lib.sd_bus_message_enter_container.argtypes = [c_void_p, ctypes.c_char, c_char_p]
_lib.sd_bus_error_free.argtypes = [POINTER(_Error)]
_lib.sd_bus_error_free.restype = None
_lib.sd_bus_set_method_call_timeout.argtypes = [c_void_p, c_uint64]
_lib.sd_bus_process.argtypes = [c_void_p, POINTER(c_void_p)]
_lib.sd_bus_wait.argtypes = [c_void_p, c_uint64]
_lib.sd_bus_message_is_signal.argtypes = [c_void_p, c_char_p, c_char_p]
_call_method = _lib.sd_bus_call_method
_unref = _lib.sd_bus_message_unref
_read = _lib.sd_bus_message_read


class CallError(Exception):
    """A call that was answered with an error, or not at all."""


class Bus:
    """One connection to the system bus, of the effective user at this moment."""

    def __init__(self) -> None:
        self._bus = c_void_p()
        _check(_lib.sd_bus_open_system(byref(self._bus)), "connecting")
        _check(_lib.sd_bus_set_method_call_timeout(self._bus, 10_000_000), "setting the timeout")
        self.call(BUS, b"GetId")

    def ask(self, to: tuple[bytes, bytes, bytes], member: bytes, *arguments: bytes | int) -> c_void_p:
        """Call (signature, values …, as in sd_bus_message_append(3)); the reply, for `done()`."""
        error, reply = _Error(), c_void_p()
        types = arguments or (None,)
        result = _call_method(self._bus, *to, member, byref(error), byref(reply), *types)
        if result < 0:
            text = f"{member.decode()}: {error.name or b''!r} {error.message or b''!r} ({result})"
            _lib.sd_bus_error_free(byref(error))
            raise CallError(text)
        return reply

    def call(self, to: tuple[bytes, bytes, bytes], member: bytes, *arguments: bytes | int) -> None:
        """Call and forget the reply."""
        done(self.ask(to, member, *arguments))

    def inhibitors(self) -> Iterator[tuple[bytes, bytes]]:
        """Mode and why of each of logind's inhibitors."""
        reply = self.ask(LOGIND, b"ListInhibitors")
        try:
            _check(_lib.sd_bus_message_enter_container(reply, b"a", b"(ssssuu)"), "reading")
            what, who, why, mode = c_char_p(), c_char_p(), c_char_p(), c_char_p()
            uid, pid = c_uint32(), c_uint32()
            fields = (byref(what), byref(who), byref(why), byref(mode), byref(uid), byref(pid))
            while _check(_read(reply, b"(ssssuu)", *fields), "reading") > 0:
                yield mode.value or b"", why.value or b""
        finally:
            done(reply)

    def missions(self) -> set[int]:
        """The pids of the missions that the agent lists."""
        reply = self.ask(MISSIONS, b"GetMissionInfos", b"su", b"", 100_000)
        try:
            return set(_pids(reply))
        finally:
            done(reply)

    def wait_signal(self, interface: bytes, member: bytes, seconds: float = 10.0) -> None:
        """Wait for a signal that is sent to this connection; raises CallError where none comes."""
        while True:
            message = c_void_p()
            if _check(_lib.sd_bus_process(self._bus, byref(message)), "processing") == 0:
                if _check(_lib.sd_bus_wait(self._bus, int(seconds * 1e6)), "waiting") == 0:
                    raise CallError(f"no {member.decode()} within {seconds:g} s")
            elif message:
                found = _lib.sd_bus_message_is_signal(message, interface, member)
                done(message)
                if found > 0:
                    return


def _pids(reply: c_void_p) -> Iterator[int]:
    texts = [c_char_p() for _ in range(4)]
    numbers = [c_uint32() for _ in range(3)]
    flags = [c_int() for _ in range(3)]
    started = c_uint64()
    fields = [numbers[0], *texts[:3], *numbers[1:], texts[3], *flags, started]
    pointers = [byref(field) for field in fields]
    _check(_lib.sd_bus_message_enter_container(reply, b"a", b"(usssuusbbit)"), "reading")
    while _check(_read(reply, b"(usssuusbbit)", *pointers), "reading") > 0:
        yield numbers[1].value


def number(reply: c_void_p) -> int:
    """The next value of a reply, a u."""
    value = c_uint32()
    _check(_read(reply, b"u", byref(value)), "reading")
    return value.value


def done(reply: c_void_p) -> None:
    """Free a reply and close the file descriptors it brought."""
    _unref(reply)


def _check(result: int, what: str) -> int:
    if result < 0:
        raise CallError(f"{what}: error {-result}")
    return result
