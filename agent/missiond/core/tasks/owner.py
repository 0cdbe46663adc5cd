# SPDX-License-Identifier: Apache-2.0
"""Who a task belongs to."""

from __future__ import annotations

from dataclasses import dataclass

from missiond.core.json_types import BootTime, Pid, Uid, UniqueName


@dataclass(frozen=True, slots=True)
class App:
    """What quotas and counts are kept for."""

    uid: Uid
    app_id: str


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, told from a later one with the same pid by its start time, and perhaps a bus connection.

    `start_ticks` is field 22 of /proc/PID/stat (proc(5)). `connection` is the unique bus name whose
    closing ends the task, or None where the task was asked for with `pid`. `unit` is the systemd unit
    that the process belongs to, if any.
    """

    pid: Pid
    start_ticks: BootTime
    app: App
    connection: UniqueName | None = None
    unit: str | None = None

    @property
    def uid(self) -> int:
        """Real uid of the process."""
        return self.app.uid
