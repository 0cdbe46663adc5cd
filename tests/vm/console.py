# SPDX-License-Identifier: Apache-2.0
"""Alice on a terminal of the machine: a real login, by agetty(8), login(1) and PAM."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vm.machine import Machine

_UNIT = "login-of-alice.service"


class Console:
    """A login session from getty's prompt to its end; `session` is logind's name of it.

    What is typed reaches the shell without any program being started in the machine for it.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._connection = machine.qemu.connect("terminal")
        self._shown = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        before = self._sessions()
        getty = ["systemd-run", "--quiet", "--collect", f"--unit={_UNIT}", "--"]
        machine.run([*getty, "agetty", "--autologin", "alice", "hvc0", "vt220"])
        try:
            machine.wait_for(lambda: self._sessions() != before)
            (self.session,) = set(self._sessions()) - set(before)
            machine.wait_for(lambda: b"$ " in self._shown)
        except TimeoutError:
            raise AssertionError(f"alice could not log in: {self._shown!r}\n{machine.journal()}") from None

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._connection.recv(4096):
                self._shown += data

    def _sessions(self) -> list[str]:
        listed = self._machine.run(["loginctl", "--no-legend", "list-sessions"]).stdout
        return [line.split()[0] for line in listed.splitlines() if " alice " in line and "hvc0" in line]

    def type(self, text: str) -> None:
        """Type on its keyboard."""
        self._connection.sendall(text.replace("\n", "\r").encode())

    def pids(self, program: str) -> list[int]:
        """Return alice's processes of this name: what is kept after logout is not in the session's cgroup."""
        named = self._machine.run(["pgrep", "-u", "alice", "-x", program], check=False).stdout
        return [int(pid) for pid in named.split()]

    def run(self, line: str, program: str) -> int:
        """Type a command line that starts one program of this name; return its process id."""
        self.type(f"{line}\n")
        self._machine.wait_for(lambda: len(self.pids(program)) == 1)
        return self.pids(program)[0]

    def logout(self) -> None:
        """Leave the shell; returns once login has ended."""
        self.type("exit\n")
        self._machine.wait_for(lambda: self._machine.show(_UNIT, "ActiveState") in ("inactive", "failed"))

    def close(self) -> None:
        """End the session with all that runs in it, and let go of the terminal."""
        self._machine.run(["loginctl", "kill-session", "--signal=KILL", self.session], check=False)
        self._machine.systemctl("stop", _UNIT, check=False)
        self._machine.wait_for(lambda: self._sessions() == [])
        with contextlib.suppress(OSError):  # the machine may have gone first
            self._connection.shutdown(socket.SHUT_RDWR)
        self._reader.join(timeout=10)
        self._connection.close()
