# SPDX-License-Identifier: Apache-2.0
"""Execution of another program in place of missionctl, in unchanged surroundings."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from missiond.cli.exit_codes import CommandError, Exit

HIDDEN = (signal.SIGPIPE, signal.SIGXFSZ)
"""Signals ignored by Python from the start, with an unknown state before."""
_COMM_LENGTH = 15
"""Bytes of a process's name, proc_pid_comm(5)."""


def take_name(program: str) -> None:
    """Take the program's name: an agent may know processes by comm alone."""
    with suppress(OSError):
        Path("/proc/self/comm").write_bytes(os.fsencode(Path(program).name)[:_COMM_LENGTH])


def become(program: str, command: Sequence[str], ignored: Collection[int] = ()) -> NoReturn:
    """Execute the program in place of this one; raises CommandError where the kernel refuses.

    `ignored`: those of HIDDEN that whoever called missionctl had ignored.
    """
    # An ignored signal stays so across execve(2).
    for number in HIDDEN:
        signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
    # A Ctrl-C between here and the command must not end up in a handler that is about to vanish.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    restore_environment()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    try:
        try:
            os.execv(program, list(command))  # noqa: S606 - what it is for
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            # A script without `#!` is one for sh(1), as execvp(3) has it.
            os.execv("/bin/sh", ["sh", program, *command[1:]])  # noqa: S606
    except OSError as error:
        text = f"{command[0]} cannot be executed: {error.strerror}; is it a program for this machine?"
        raise CommandError(Exit.NOT_EXECUTABLE, text) from error


def restore_environment() -> None:
    """Restore the environment of missionctl's start, to the byte.

    In the C locale, Python sets LC_CTYPE for itself (PEP 538).
    """
    with suppress(OSError):
        given = Path("/proc/self/environ").read_bytes().split(b"\0")
        values = [entry.partition(b"=")[2] for entry in given if entry.startswith(b"LC_CTYPE=")]
        if values:
            os.environb[b"LC_CTYPE"] = values[0]
        elif b"LC_CTYPE" in os.environb:
            del os.environb[b"LC_CTYPE"]
