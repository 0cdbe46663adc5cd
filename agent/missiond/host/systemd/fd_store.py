# SPDX-License-Identifier: Apache-2.0
"""File descriptors that the service manager passes at start (sd_listen_fds(3), FileDescriptorStoreMax=)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, MutableMapping

_LOGGER = logging.getLogger(__name__)
_FIRST_FD = 3
_MOST_FDS = 65536
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_UNNAMED = ("", "unknown", "stored", "connection")
_NAME_LENGTH = 255


def is_valid_name(name: str) -> bool:
    """Whether sd_notify(3) takes it for FDNAME=: 1 to 255 printable ASCII characters, without ":"."""
    return 0 < len(name) <= _NAME_LENGTH and name.isascii() and name.isprintable() and ":" not in name


def is_ours(name: str) -> bool:
    """Whether it can be a name that this program gave; the service manager has its own for the nameless."""
    return is_valid_name(name) and name not in _UNNAMED


def passed_fds(environ: MutableMapping[str, str]) -> Iterator[tuple[int, str]]:
    """Each fd that was passed to this process and its name; none is inherited by children from here on.

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
