# SPDX-License-Identifier: Apache-2.0
"""Boot a systemd container, learn when it is up, and end it by its id."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from hosts.trees import SOURCE

_numbers = itertools.count(1)


class Boot:
    """One running container over a tree that it does not write to.

    `leader` is PID 1 of the container as seen from outside.  `close()` shuts the host down, or kills it after
    a grace time; when this process dies first, the kernel sends the container's keeper the same SIGTERM.
    """

    def __init__(
        self,
        tree: Path,
        options: list[str],
        environment: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> None:
        self.name = f"h{os.getpid()}-{next(_numbers)}"
        self.directory = Path(tempfile.mkdtemp(prefix=f"missiond-{self.name}-"))
        self.console = self.directory / "console"
        self.leader: int | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.bind(str(self.directory / "notify"))
        container = str(SOURCE / "packaging/lib/container")
        with self.console.open("wb") as console:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", container, "boot", str(tree), self.name, *options],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {}), "NOTIFY_SOCKET": str(self.directory / "notify")},
                start_new_session=True,  # a Ctrl-C here is not for the host: close() ends it
            )
        try:
            self.leader = self._wait_ready(time.monotonic() + timeout)
        except BaseException:
            self.close()
            raise
        finally:
            self._socket.close()  # nothing reads it any more; a full one would hold the container's keeper up

    def _wait_ready(self, deadline: float) -> int:
        """Read the notifications of the container until it is up, and return its leader."""
        leader = None
        while True:
            self._socket.settimeout(max(0.1, min(1.0, deadline - time.monotonic())))
            try:
                lines = self._socket.recv(65536).decode().splitlines()
            except TimeoutError:
                lines = []
            for line in lines:
                if line.startswith("X_NSPAWN_LEADER_PID="):
                    leader = int(line.partition("=")[2])
            if "READY=1" in lines and leader is not None:
                return leader
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self.console.read_text(errors="replace")
                raise RuntimeError(f"the host did not come up:\n{said[-4000:]}")

    def close(self) -> None:
        """End the host and take away what belongs to it; harmless when done twice."""
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.terminate()  # the second one kills the container at once
            if self.leader is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.leader, signal.SIGKILL)
            self._process.wait(timeout=20)
        for file in self.directory.iterdir():
            file.unlink()
        self.directory.rmdir()
