# SPDX-License-Identifier: Apache-2.0
"""Services with restarts: the states in systemd, and the consequences for tasks."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from enum import Enum

from missiond.core.tasks.owner import Owner

LATE = 300
"""Ms until a due restart has begun: systemd's timers may be 250 ms late."""

MOST_PAUSE = 300_000
"""Ms between the end of a service and the next start, at most; the host is kept awake meanwhile."""


_ABORT = ("signal", "core-dump")
_ABNORMAL = (*_ABORT, "timeout", "watchdog")
_FAILURE = (*_ABNORMAL, "exit-code", "oom-kill", "protocol", "resources")
_COVERED: dict[str, tuple[str, ...]] = {
    "always": (*_FAILURE, "success"),
    "on-failure": _FAILURE,
    "on-abnormal": _ABNORMAL,
    "on-abort": _ABORT,
    "on-watchdog": ("watchdog",),
}
"""After which ends each Restart= has a service started again (systemd.service(5))."""


@dataclass(frozen=True, slots=True)
class RestartedService:
    """A service of systemd's.

    `manager` is the uid of the user whose manager runs it, None for the system's. `cgroup` is its path below
    the root of the hierarchy, without the first slash (cgroups(7)).
    """

    manager: int | None
    name: str
    cgroup: str

    @property
    def journal(self) -> str:
        """The command for the journal of the service."""
        return f"journalctl {'' if self.manager is None else '--user '}-u {self.name}"

    @property
    def key(self) -> tuple[int | None, str]:
        """Manager and name, wherever the processes are."""
        return self.manager, self.name


@dataclass(frozen=True, slots=True)
class ServiceState:
    """The state of a service in systemd's words (org.freedesktop.systemd1(5)).

    `main_pid` is 0 where there is no main process. `restart_ms` is the time between an end and the next
    start. `job` is whether something is to be done with the service, `collects` whether it is forgotten at
    once when it fails.
    """

    load: str
    active: str
    sub: str
    result: str
    kind: str
    restart: str
    restart_ms: int
    main_pid: int
    job: bool
    collects: bool = False

    @property
    def pause(self) -> int:
        """Ms until the next change without outside cause; 0 where unknown."""
        return self.restart_ms + LATE if self.sub == "auto-restart" else 0


class Verdict(Enum):
    """The fate of the task of a service without a main process."""

    FOLLOW = "follow"
    WAIT = "wait"
    STOPPED = "stopped"
    FAILED = "failed"


def judge(state: ServiceState) -> Verdict:
    """Return the fate of a task; FOLLOW where there is a main process, perhaps just ended."""
    if state.main_pid:
        return Verdict.FOLLOW
    if state.job or "auto-restart" in state.sub:
        return Verdict.WAIT
    if state.active == "failed":
        return Verdict.FAILED
    # A service may count as active with nothing running (RemainAfterExit= in systemd.service(5)).
    return Verdict.STOPPED if state.active == "inactive" or state.sub == "exited" else Verdict.WAIT


def refusal(service: RestartedService, state: ServiceState) -> str | None:
    """Return the reason against keeping the service running, with the remedy; None where there is none."""
    name = service.name
    if state.load != "loaded":
        return f"systemd has no {name} ({state.load}); name a process of a service that runs"
    if state.kind == "oneshot":
        return f"{name} is of Type=oneshot, which ends by design; use keep-alive protect"
    if not state.main_pid:
        return f"{name} has no main process that systemd knows; see PIDFile= in systemd.service(5)"
    if state.active not in ("active", "activating", "reloading", "refreshing"):
        return f"{name} is {state.active}; start it, and ask again"
    if state.restart_ms > MOST_PAUSE:
        return f"{name} is started again too late; have RestartSec= at most {MOST_PAUSE // 60_000} min"
    return None


def failure(state: ServiceState) -> str:
    """Return the reason for the missing restart, for a sentence beginning with the service.

    `result` is that of its last end even where the limit of starts was the reason (systemd.unit(5)).
    """
    if state.result == "start-limit-hit" or state.result in _COVERED.get(state.restart, ()):
        return f"ended too often, and systemd gave it up ({state.result}; see StartLimitBurst= of the unit)"
    return f"ended, and is not started again ({state.result}; it has Restart={state.restart})"


def forgotten(last: ServiceState | None, result: str) -> str:
    """Return the reason for a service forgotten by the manager; `last` is the state before, where known."""
    if last is not None:
        return failure(replace(last, result=result))
    return f"ended, and systemd gave it up ({result}; with CollectMode=inactive it would not forget it too)"


class Ends:
    """The ends of a service's main processes, for crash loops too slow for systemd's limit."""

    def __init__(self) -> None:
        self._times: deque[int] = deque()

    def note(self, now: int, most: int, period: int) -> bool:
        """Note one at `now` ms; whether there were more than `most` within `period` ms."""
        self._times.append(now)
        while self._times[0] <= now - period:
            self._times.popleft()
        return len(self._times) > most


def successor(owner: Owner, pid: int, start_ticks: int) -> Owner:
    """Return the owner with this main process; the task is the service's, not a connection's."""
    return Owner(pid, start_ticks, owner.app, None, owner.unit)
