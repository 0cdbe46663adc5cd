# SPDX-License-Identifier: Apache-2.0
"""The service manager: state, watchdog and fd store (sd_notify(3), sd_watchdog_enabled(3)).

Sends through its own non-blocking socket (see `notify`); takes stored fds over with systemd-python where
that is installed. Without a service manager every method does nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator, MutableMapping

from missiond.host.systemd.notify import Notice, NotifySocket

_LOGGER = logging.getLogger(__name__)
_STATUS_LENGTH = 512
_US_PER_S = 1_000_000
_FIRST_FD = 3
_MOST_FDS = 65536
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_UNNAMED = ("", "unknown", "stored", "connection")
_NAME_LENGTH = 255


class ServiceManager:
    """The manager of this process; nothing here blocks or raises for the manager's sake.

    Reads $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID, and removes them from `environ` (default: the real
    one), so that children are not taken for this service.
    """

    def __init__(self, environ: MutableMapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._socket = NotifySocket(self._environ.pop("NOTIFY_SOCKET", ""))
        self._watchdog_interval = _watchdog_interval(self._environ)
        self._watchdog: asyncio.TimerHandle | None = None
        self._stored: set[str] = set()

    @property
    def present(self) -> bool:
        """Whether a service manager wants to be told."""
        return self._socket.enabled

    @property
    def waiting(self) -> int:
        """How many messages the service manager could not be sent so far."""
        return self._socket.waiting

    def ready(self) -> None:
        """Report the end of start-up, or of a reload."""
        self._send("READY=1", key="ready")

    def reloading(self) -> None:
        """Report the begin of a reload (Type=notify-reload in systemd.service(5)), ended by `ready`."""
        monotonic_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={monotonic_us}", key="reloading")

    def stopping(self) -> None:
        """Report the begin of shutdown."""
        self._send("STOPPING=1", key="stopping")

    def status(self, text: str) -> None:
        """Show one line in `systemctl status`: 512 characters at most, spaces for unprintable ones."""
        line = "".join(char if char.isprintable() else " " for char in text[:_STATUS_LENGTH])
        self._send(f"STATUS={line}", key="status")

    def store(self, name: str, fd: int) -> None:
        """Keep a duplicate of `fd` with the service manager under `name`; the fd stays the caller's.

        It lies there before this returns, unless the manager's queue is full: then it is sent, in order, as
        soon as there is room. FDPOLL=0, for a fifo whose reader restarts must not be dropped. Raises
        ValueError for a name that sd_notify(3) does not allow, OSError where `fd` is not open.
        """
        if not is_valid_name(name):
            raise ValueError(f"no name for a stored file descriptor: {name[:64]!r}")
        os.fstat(fd)
        notice = Notice(f"FDSTORE=1\nFDNAME={name}\nFDPOLL=0", fd, _store_key(name))
        if self._socket.send(notice):
            self._stored.add(name)

    def unstore(self, name: str) -> None:
        """Let the service manager close the fd kept under `name`; nothing there is fine."""
        waited = self._socket.drop(_store_key(name))
        if waited and name not in self._stored:
            return  # it never left this process
        self._stored.discard(name)
        if is_valid_name(name):
            self._send(f"FDSTOREREMOVE=1\nFDNAME={name}", key=f"remove {name}")

    def take_stored(self) -> dict[str, int]:
        """Take over the fds of an earlier run: name to fd, not inherited by children, the caller's to close.

        Once only. Fds without a name of ours are closed here and in the store; of several with one name the
        first stays, in both places.
        """
        taken: dict[str, int] = {}
        surplus: set[str] = set()
        for fd, name in passed_fds(self._environ):
            if is_ours(name) and name not in taken:
                taken[name] = fd
            else:
                _LOGGER.warning("closing a left-over file descriptor named %.64r", name)
                os.close(fd)
                surplus.add(name)
        self._stored.update(taken)
        for name in surplus:
            self.unstore(name)
            if name in taken:
                self.store(name, taken[name])
        return taken

    def start_watchdog(self) -> None:
        """Ping from the running loop at half of WatchdogSec=: a hanging loop is then noticed."""
        if self._watchdog is None and self._watchdog_interval is not None and self.present:
            self._ping(asyncio.get_running_loop(), self._watchdog_interval)

    def close(self) -> None:
        """Report nothing any more; stored fds stay stored."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        self._socket.close()

    def _ping(self, loop: asyncio.AbstractEventLoop, interval: float) -> None:
        self._send("WATCHDOG=1", key="watchdog")
        self._watchdog = loop.call_later(interval, self._ping, loop, interval)

    def _send(self, text: str, key: str) -> None:
        self._socket.send(Notice(text, key=key))


def _store_key(name: str) -> str:
    return f"store {name}"


def _watchdog_interval(environ: MutableMapping[str, str]) -> float | None:
    """Seconds between pings; None where none are wanted, or not of this process."""
    microseconds, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
    try:
        if pid and int(pid) != os.getpid():
            return None
        wanted = int(microseconds)
    except ValueError:
        return None
    return wanted / 2 / _US_PER_S if wanted > 0 else None


def is_valid_name(name: str) -> bool:
    """Return whether sd_notify(3) takes a name for FDNAME=: 1 to 255 printable ASCII without ":"."""
    return 0 < len(name) <= _NAME_LENGTH and name.isascii() and name.isprintable() and ":" not in name


def is_ours(name: str) -> bool:
    """Return whether a name can be one of ours; the service manager has names for the nameless."""
    return is_valid_name(name) and name not in _UNNAMED


def passed_fds(environ: MutableMapping[str, str]) -> Iterator[tuple[int, str]]:
    """Yield each fd passed to this process, with the name; children inherit none from here on.

    The variables that tell of them are removed from `environ`, so that a second call finds nothing.
    Through systemd-python where that is installed and `environ` is the real one.
    """
    try:
        found = _through_library() if environ is os.environ else None
        if found is None:
            found = list(_from_environment(environ))
    finally:
        for variable in _VARIABLES:
            environ.pop(variable, None)
    unusable = 0
    for fd, name in found:
        try:
            os.set_inheritable(fd, False)
        except OSError:
            unusable += 1
        else:
            yield fd, name
    if unusable:
        _LOGGER.warning("%d of %d announced file descriptors are not open", unusable, len(found))


def _through_library() -> list[tuple[int, str]] | None:
    """Ask libsystemd; None where it is missing or finds the variables wrong (one closed fd is enough)."""
    try:
        from systemd.daemon import listen_fds_with_names  # noqa: PLC0415
    except ImportError:
        return None
    try:
        return list(listen_fds_with_names(unset_environment=False).items())
    except OSError as error:
        _LOGGER.warning("the service manager's file descriptors can't be taken over as they are: %s", error)
        return None


def _from_environment(environ: MutableMapping[str, str]) -> Iterator[tuple[int, str]]:
    """Do as sd_listen_fds_with_names(3), save that one closed fd does not spoil the others."""
    try:
        if int(environ.get("LISTEN_PID", "")) != os.getpid():
            return
        count = int(environ.get("LISTEN_FDS", ""))
    except ValueError:
        return
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    for index in range(min(count, _MOST_FDS)):
        yield _FIRST_FD + index, names[index] if index < len(names) and names[index] else "unknown"
