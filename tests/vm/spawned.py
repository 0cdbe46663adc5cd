# SPDX-License-Identifier: Apache-2.0
"""A process that runs inside a virtual machine, in the background of a test."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from hosts.spawned import Spawned

if TYPE_CHECKING:
    from hosts.machine import Host
    from vm.guest import Guest


class _Input(io.RawIOBase):
    def __init__(self, guest: Guest, number: int) -> None:
        self._guest = guest
        self._number = number

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._guest.feed(self._number, bytes(data))
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._guest.feed(self._number, None)
        super().close()


class GuestSpawned(Spawned):
    """As Spawned in all that tests use."""

    def __init__(self, host: Host, guest: Guest, command: list[str], user: str | None) -> None:
        self._host = host
        number, self._remote = guest.start(command, user, stdin=True)
        self.pid = self._remote.wait_start(timeout=60)
        self.stdin = io.TextIOWrapper(io.BufferedWriter(_Input(guest, number)), line_buffering=True)
        self.stdout = io.TextIOWrapper(io.BufferedReader(self._remote.out))
        threading.Thread(target=self._show_errors, daemon=True).start()

    def _show_errors(self) -> None:
        for line in io.BufferedReader(self._remote.err):
            sys.stderr.write(line.decode(errors="replace"))

    def wait(self, timeout: float = 40.0) -> int:
        """Wait for its end and return the exit status."""
        try:
            return self._remote.wait_exit(time.monotonic() + timeout)
        except TimeoutError:
            raise subprocess.TimeoutExpired(str(self.pid), timeout) from None

    def close(self) -> None:
        """End it if it still runs, and release the pipes."""
        if self._remote.status is None:
            self._host.run(["kill", "-KILL", str(self.pid)], check=False)
            self.wait()
        self.stdin.close()
        self.stdout.close()
