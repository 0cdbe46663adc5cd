# SPDX-License-Identifier: Apache-2.0
"""What has to stay on a host that something is done to, and people who work there meanwhile."""

from __future__ import annotations

from typing import Any

from hosts.client import manager, request, sleeper, start
from hosts.crowds import SERVICE, Beside
from hosts.machine import Host

USERS = ("alice", "bob")
BROKEN = {"EOFError", "ConnectionResetError", "ConnectionRefusedError", "BrokenPipeError", "NoReply"}
EXPECTED = {"", "PermissionDenied 201", "SystemServiceFailed 9800004", *BROKEN}
"""What people see of faults; with polkit gone nothing but transient tasks is for them."""
LONGEST = 28_000.0
"""Ms that any call may take: the 25 s of a polkit that hangs."""


class Held:
    """People at work, and two tasks of alice's that have to stay."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.owner = sleeper(host)
        self.number = request(host, self.owner)
        self.task = start(host, self.owner, "voip", "dataTransfer")
        self.names = sorted(lock.why for lock in host.locks())
        self._loads = [Beside(host, "load", user=user) for user in USERS]

    def reports(self) -> list[dict[str, Any]]:
        """What the people at work saw since the last."""
        return [load.report() for load in self._loads]

    def check(self, also: str | None = None) -> list[dict[str, Any]]:
        """Nothing was lost and nothing leaks: exactly these two are left, once nobody works any more.

        `also` is another answer that people may have had.
        """
        reports = self.reports()
        for load in self._loads:
            load.close()
        self.host.wait_for(lambda: sorted(lock.why for lock in self.host.locks()) == self.names, 15)
        self.host.wait_for(lambda: self.host.show(SERVICE, "NFileDescriptorStore") == "2")
        try:
            self.host.wait_for(lambda: manager(self.host, "Degraded") == "as 0", 15)
        except TimeoutError:
            said = manager(self.host, "Degraded")
            raise AssertionError(f"{said}\n{self.host.journal(SERVICE, '--lines=40')}") from None
        assert request(self.host, self.owner) > self.number
        for report in reports:
            assert report["twice"] == []
            assert set(report["outcomes"]) - {also} <= EXPECTED
            assert report["longest"] < LONGEST
        self.owner.signal("KILL")
        self.host.wait_for(lambda: self.host.locks() == [])
        self.host.wait_for(lambda: self.host.show(SERVICE, "NFileDescriptorStore") == "0")
        assert "Traceback" not in self.host.journal(SERVICE)
        return reports
