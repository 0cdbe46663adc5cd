# SPDX-License-Identifier: Apache-2.0
"""What a plain subscriber on the host's bus sees of the agent: nothing of ours in it, but sd-bus' busctl."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from typing import Any, NamedTuple

from hosts.machine import MANAGER, Host

PEER = "org.freedesktop.DBus.Peer"
PATIENCE = 15.0


class Signal(NamedTuple):
    """One broadcast signal of the agent's."""

    member: str
    path: str
    body: list[Any]


class Signals:
    """The agent's signals from now on, as `busctl monitor` shows them."""

    def __init__(self, host: Host) -> None:
        self._patience = PATIENCE * host.slower
        self._stdout = host.spawn(["busctl", "--json=short", "monitor", MANAGER[0]]).stdout
        self._lines: queue.Queue[str] = queue.Queue()
        self._seen: list[Signal] = []
        self.lines: list[str] = []
        """All that was said on the bus, as it was shown."""
        threading.Thread(target=self._read, daemon=True).start()
        # it listens once it shows a message
        host.wait_for(lambda: host.busctl("call", *MANAGER, PEER, "Ping") and not self._lines.empty())

    def wait(self, member: str, *body: object) -> Signal:
        """Return the next such signal (with this body, if given); others are kept for later."""

        def fits(signal: Signal) -> bool:
            return signal.member == member and (not body or signal.body == list(body))

        for signal in self._seen:
            if fits(signal):
                self._seen.remove(signal)
                return signal
        while True:
            try:
                found = _parse(self._lines.get(timeout=self._patience))
            except queue.Empty:
                raise AssertionError(f"no {member} {body}; so far {self._seen}") from None
            if found is not None and fits(found):
                return found
            if found is not None:
                self._seen.append(found)

    def _read(self) -> None:
        with contextlib.suppress(ValueError):  # closed at the end of the test
            for line in self._stdout:
                self.lines.append(line)
                self._lines.put(line)


def _parse(line: str) -> Signal | None:
    if not line.startswith("{"):
        return None
    message = json.loads(line)
    if message.get("type") != "signal":
        return None
    return Signal(message["member"], message["path"], message["payload"]["data"])
