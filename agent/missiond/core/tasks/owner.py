# SPDX-License-Identifier: Apache-2.0
"""Owners of tasks, and applications."""

from __future__ import annotations

from dataclasses import dataclass

from missiond.core.json_types import BootTime, Pid, Uid, UniqueName


@dataclass(frozen=True, slots=True)
class App:
    """An application: the key of quotas and counts."""

    uid: Uid
    app_id: str


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, identified by pid and start time, perhaps with a bus connection.

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
