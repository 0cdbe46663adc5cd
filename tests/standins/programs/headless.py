# SPDX-License-Identifier: Apache-2.0
"""A program whose first thread ends while another goes on, as some runtimes do (pthread_exit(3) in main)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

PROGRAM = """
import ctypes, sys, threading
threading.Thread(target=sys.stdin.read).start()
with open("/proc/self/cmdline", "rb") as file: file.read()
print("ready", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""
"""It goes on until its input ends."""


@contextmanager
def headless(python: str = sys.executable) -> Iterator[subprocess.Popen[bytes]]:
    """Run it, and wait until its first thread has ended."""
    command = [python, "-c", PROGRAM]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            while not _has_lost_its_head(child.pid):
                assert child.poll() is None
            yield child
        finally:
            child.kill()


def _has_lost_its_head(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
        return file.read().rpartition(b") ")[2].startswith(b"Z")
