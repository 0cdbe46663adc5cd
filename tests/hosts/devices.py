# SPDX-License-Identifier: Apache-2.0
"""What tests with several hosts do on each of them: peers, their missions, and somebody who listens."""

from __future__ import annotations

import json
import queue
import re
import threading
import time
from pathlib import Path
from typing import Any

from hosts.machine import MANAGER, Host
from hosts.people import MISSIONS, missions

AGENT, UNIT = "missiond.service", "missiond-peers.service"
PEERS = "org.missiond.Agent1.Peers"
CODE = re.compile(r"code   (\d{3} \d{3})")
PATIENCE = 30.0
_PROGRAM = Path(__file__).parent / "inside/listen.py"


def missionctl(host: Host, *words: str, user: str | None = None) -> str:
    """Run it to its end, which must be a good one."""
    return host.run(["missionctl", *words], user=user).stdout


def device_id(host: Host) -> str:
    """Of a host on which peers are on."""
    return host.busctl("get-property", *MANAGER, PEERS, "LocalDeviceId").stdout.split('"')[1]


def state(host: Host, device: str) -> str:
    """What a host knows of a device."""
    (rows,) = host.call(*MANAGER, PEERS, "ListPeers")
    return next((str(row[2]) for row in rows if row[0] == device), "unknown")


def wait_state(host: Host, device: str, wanted: str, timeout: float = 40) -> float:
    """Wait until a host knows that of a device; the seconds that took."""
    began = time.monotonic()
    try:
        host.wait_for(lambda: state(host, device) == wanted, timeout)
    except TimeoutError:
        raise AssertionError(f"{state(host, device)}, not {wanted}:\n{host.journal(UNIT)}") from None
    return time.monotonic() - began


def start(host: Host, label: str) -> None:
    """Start a program of alice's that is a mission."""
    host.spawn(["missionctl", "run", "--title", label, "--", "sleep", "6000"], user="alice")


def remote(host: Host, device: str) -> list[Any]:
    """The missions of a device, as a host has them."""
    (rows,) = host.call(*MANAGER, MISSIONS, "GetMissionInfos", "su", device, "100000")
    return [tuple(row) for row in rows]


def wait_equal(one: Host, two: Host, timeout: float) -> float:
    """Wait until the first host's view of the second is what the second has; the seconds that took."""
    began, device = time.monotonic(), device_id(two)

    def equal() -> bool:
        try:
            return remote(one, device) == [tuple(row) for row in missions(two, None)]
        except AssertionError:
            return False  # not connected, or not synchronised, at this moment

    try:
        one.wait_for(equal, timeout)
    except TimeoutError:
        different = set(missions(two, None)) ^ set(remote(one, device))
        raise AssertionError(f"{different}\n{one.journal(UNIT)}\n{one.journal(AGENT)}") from None
    return time.monotonic() - began


class Listener:
    """A program on a host that listens to another one; the newest list that it saw."""

    def __init__(self, host: Host, device: str) -> None:
        host.run(["tee", "/tmp/listen.py"], stdin=_PROGRAM.read_text())
        self._process = host.spawn(["python3", "/tmp/listen.py", device])
        self._lines: queue.Queue[list[Any]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.heard: list[str] = []
        self.rows: list[list[Any]] | None = None
        self.at = 0
        """When the last signal came (ns, CLOCK_MONOTONIC, which all hosts here share)."""

    def _read(self) -> None:
        for line in self._process.stdout:
            self._lines.put(json.loads(line))

    def until(self, what: str, *labels: str, timeout: float = PATIENCE) -> None:
        """Wait for a signal of this kind, after which the list has these labels among others."""
        while True:
            try:
                kind, self.rows, *at = self._lines.get(timeout=timeout)
            except queue.Empty:
                raise AssertionError(f"no {what} with {labels}: {self.heard}, {self.rows}") from None
            self.at = at[0] if at else 0
            self.heard.append(kind)
            if kind == what and set(labels) <= {row[1] for row in self.rows or ()}:
                return

    def close(self) -> None:
        """Listen no longer."""
        self._process.close()
