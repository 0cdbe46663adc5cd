# SPDX-License-Identifier: Apache-2.0
"""The agent as a child process, started as the service manager starts it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from standins.services.fd_store import FdStoreStandIn

ROOT = Path(__file__).parents[3]
_FIRST_FD = 3
_ABOVE = 512


class AgentProcess:
    """One run of `python -m missiond`."""

    def __init__(
        self,
        environment: Mapping[str, str],
        log: Path,
        store: FdStoreStandIn | None = None,
        *arguments: str,
        before: Callable[[], None] | None = None,
    ) -> None:
        """`before` is called in the child, before the program is."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DBUS_", "LISTEN_", "NOTIFY_", "XDG_", "WATCHDOG_"))
        }
        environ = inherited | {"PYTHONPATH": str(ROOT / "agent"), "PYTHONDONTWRITEBYTECODE": "1"}
        environ |= environment
        kept = [(name, fd) for name, fds in store.fds.items() for fd in fds] if store is not None else []
        if store is not None:
            environ["NOTIFY_SOCKET"] = store.address
        if kept:
            environ["LISTEN_FDS"] = str(len(kept))
            environ["LISTEN_FDNAMES"] = ":".join(name for name, _ in kept)
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE) for _, fd in kept]
        targets = range(_FIRST_FD, _FIRST_FD + len(high))

        def prepare() -> None:
            for target, fd in zip(targets, high, strict=True):
                os.dup2(fd, target)
            if before is not None:
                before()

        # `exec` keeps the pid, so the shell knows the one that LISTEN_PID= must name.
        shell = 'LISTEN_PID=$$ exec "$@"' if kept else 'exec "$@"'
        with log.open("ab") as errors:
            self._child = subprocess.Popen(
                ["/bin/sh", "-c", shell, "sh", sys.executable, "-m", "missiond", *arguments],
                env=environ,
                stderr=errors,
                stdin=subprocess.DEVNULL,
                close_fds=False,
                preexec_fn=prepare,
            )
        for fd in high:
            os.close(fd)

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._child.pid

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._child.send_signal(number)

    async def exited(self) -> int:
        """Wait for its end; the exit status, negative for a signal."""
        loop = asyncio.get_running_loop()
        pidfd = os.pidfd_open(self.pid)
        over = loop.create_future()
        loop.add_reader(pidfd, lambda: None if over.done() else over.set_result(None))
        try:
            await over
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)
        return self._child.wait()

    def end(self) -> None:
        """Make sure that it is gone."""
        self._child.kill()
        self._child.wait()
