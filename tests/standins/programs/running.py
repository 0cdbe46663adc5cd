# SPDX-License-Identifier: Apache-2.0
"""Child processes that wait until they are told to end."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHELL = os.path.realpath(shutil.which("sh") or "/bin/sh")


def copy_of_shell(place: bytes) -> bytes:
    """Make a program that `running` can run; gives its path back."""
    Path(os.fsdecode(place)).write_bytes(Path(SHELL).read_bytes())
    Path(os.fsdecode(place)).chmod(0o755)
    return place


@contextmanager
def running(
    program: bytes | str | Path = SHELL, argv0: bytes | str | None = None, user: int | None = None
) -> Iterator[int]:
    """Run a shell, or a copy of or link to one, which waits for the end of its input; gives its pid."""
    arguments = [os.fsencode(program if argv0 is None else argv0)]
    # With a directory given Popen takes fork and exec, which, unlike posix_spawn, allow an empty argv[0].
    with subprocess.Popen(
        arguments,
        executable=program,
        cwd="/",
        user=user,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            # Popen returns a little before the kernel has put name and arguments of the new program in place.
            child.stdin.write(b"echo ready\n")
            child.stdin.flush()
            while (line := child.stdout.readline()) != b"ready\n":
                assert line, "the shell ended"
            yield child.pid
        finally:
            child.kill()
