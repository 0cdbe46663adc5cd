# SPDX-License-Identifier: Apache-2.0
"""Runs inside the machine: starts the commands that come through a port, and sends back what they say.

Each line is a JSON object.  In come `{"id", "argv", "user", "stdin"}` (start it), `{"id", "in"}` (text for
its input) and `{"id", "in": null}` (end of it); out go `{"id", "pid"}`, or `{"id", "failed"}`, then
`{"id", "out"}` and `{"id", "err"}` (text; null at the end of it), and `{"id", "exit"}` (status as subprocess
has it).  All text is Latin-1, one character for each byte.  The first line out is `{"ready": true}`.
"""

from __future__ import annotations

import json
import os
import pwd
import selectors
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Agent:
    """Everything happens in one loop, in order."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._rest = b""
        self._selector = selectors.DefaultSelector()
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def run(self) -> None:
        """Serve until the machine ends."""
        self._selector.register(self._port, selectors.EVENT_READ, self._read)
        self._send(ready=True)
        while True:
            for key, _ in self._selector.select():
                key.data()

    def _send(self, **message: object) -> None:
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(self._port, data) :]

    def _read(self) -> None:
        *lines, self._rest = (self._rest + os.read(self._port, 65536)).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "argv" in message:
                self._start(message)
            else:
                self._feed(message["id"], message["in"])

    def _start(self, message: dict[str, Any]) -> None:
        number = message["id"]
        try:
            process = _popen(message["argv"], message["user"], message["stdin"])
        except OSError as error:
            self._send(id=number, failed=str(error))
            return
        self._running[number] = process
        assert process.stdout is not None
        assert process.stderr is not None
        self._watch(number, "out", process.stdout)
        self._watch(number, "err", process.stderr)
        end = os.pidfd_open(process.pid)
        self._selector.register(end, selectors.EVENT_READ, lambda: self._ended(number, end))
        self._send(id=number, pid=process.pid)

    def _watch(self, number: int, name: str, stream: IO[bytes]) -> None:
        def forward() -> None:
            data = os.read(stream.fileno(), 65536)
            if not data:
                self._selector.unregister(stream)
                stream.close()
            self._send(**{"id": number, name: data.decode("latin-1") if data else None})

        callback: Callable[[], None] = forward
        self._selector.register(stream, selectors.EVENT_READ, callback)

    def _ended(self, number: int, end: int) -> None:
        self._selector.unregister(end)
        os.close(end)
        process = self._running.pop(number)
        status = process.wait()
        if process.stdin is not None:
            process.stdin.close()
        self._send(id=number, exit=status)

    def _feed(self, number: int, text: str | None) -> None:
        process = self._running.get(number)
        if process is None or process.stdin is None:
            return
        try:
            if text is None:
                process.stdin.close()
            else:
                process.stdin.write(text.encode("latin-1"))
        except OSError:  # it reads no more
            process.stdin = None


def _popen(argv: list[str], user: str | None, stdin: bool) -> subprocess.Popen[bytes]:
    """Start it as root or as that user, with nothing of this service's environment."""
    become: dict[str, Any] = {}
    home = "/root"
    if user is not None:
        entry = pwd.getpwnam(user)
        home = entry.pw_dir
        groups = os.getgrouplist(user, entry.pw_gid)
        become = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}
    return subprocess.Popen(
        argv,
        bufsize=0,
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env={"PATH": _PATH, "LANG": "C.UTF-8", "HOME": home},
        start_new_session=True,
        **become,
    )


if __name__ == "__main__":
    # Out of this service's control group: what runs here is none of a unit's, as with a container's commands.
    Path("/sys/fs/cgroup/cgroup.procs").write_text(str(os.getpid()))
    Agent(int(sys.argv[1])).run()
