# SPDX-License-Identifier: Apache-2.0
"""Standard input, output and error in any given state.

Some of them may be closed, a character may be none of the terminal's charset, and a disk may be full: none of
that keeps a verb from doing what it is for.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TextIO

_STANDARD = (0, 1, 2)


def prepare() -> None:
    """Make all three streams usable; call this before any descriptor is opened."""
    for fd in _STANDARD:
        _take_place(fd)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - a descriptor
    sys.stdout = _lenient(sys.stdout, 1)
    sys.stderr = _lenient(sys.stderr, 2)


def _take_place(fd: int) -> None:
    """Have a closed descriptor be /dev/null, so that no socket gets its number and what is printed.

    It is closed again for the program that this one becomes.
    """
    try:
        os.get_inheritable(fd)
    except OSError:
        # Lower ones are open, so that this one is the lowest that is free.
        with suppress(OSError):
            os.open(os.devnull, os.O_RDWR)


def _lenient(stream: TextIO | None, fd: int) -> TextIO:
    """Print ? for what the charset does not have."""
    if stream is None:
        return open(fd, "w", errors="replace", closefd=False)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")
    return stream


def complain(text: str) -> None:
    """Print one line on standard error, if possible."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"missionctl: {text}\n")
        sys.stderr.flush()


def drop_unwritten() -> None:
    """Drop unwritable output, before the interpreter tries again at the end."""
    for stream, fd in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, fd)
                os.close(null)
                stream.flush()
