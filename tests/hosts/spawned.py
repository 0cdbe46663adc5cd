# SPDX-License-Identifier: Apache-2.0
"""A process that runs inside a host, in the background of a test."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hosts.machine import Host


class Spawned:
    """A background process; `pid` is its process id inside the host, `stdout` its output as text.

    Its input is a pipe (`stdin`), its errors go where the test's go.
    """

    def __init__(self, host: Host, command: list[str]) -> None:
        self._host = host
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.stdin = self._process.stdin
        self.stdout = self._process.stdout
        line = self.stdout.readline()
        if not line:
            raise RuntimeError(f"{command} did not start, exit status {self._process.wait(timeout=10)}")
        self.pid = int(line)

    def signal(self, name: str) -> None:
        """Send a signal ("KILL", "TERM", …) to the process alone."""
        self._host.run(["kill", f"-{name}", str(self.pid)])

    def wait(self, timeout: float = 10.0) -> int:
        """Wait for its end and return the exit status."""
        return self._process.wait(timeout=timeout)

    def close(self) -> None:
        """End it if it still runs, and release the pipes."""
        if self._process.poll() is None:
            self._host.run(["kill", "-KILL", str(self.pid)], check=False)
            self._process.wait(timeout=10)
        self.stdin.close()
        self.stdout.close()
