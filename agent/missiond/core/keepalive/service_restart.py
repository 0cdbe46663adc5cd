# SPDX-License-Identifier: Apache-2.0
"""Services that are started again when they end: what systemd says of one, and what follows for its task."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from enum import Enum

from missiond.core.tasks.owner import Owner

LATE = 300
"""Ms after which a restart that is due has begun: systemd's timers may be 250 ms late."""

MOST_PAUSE = 300_000
"""Ms that may lie between the end of a service and its next start, in which the host is kept awake too."""


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
        """The command that shows what it said."""
        return f"journalctl {'' if self.manager is None else '--user '}-u {self.name}"

    @property
    def key(self) -> tuple[int | None, str]:
        """Which one it is, wherever its processes are."""
        return self.manager, self.name


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What systemd says of a service, in its words (org.freedesktop.systemd1(5)).

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
        """Ms after which something should have changed by itself; 0 where that is not known."""
        return self.restart_ms + LATE if self.sub == "auto-restart" else 0


class Verdict(Enum):
    """What becomes of the task of a service whose main process is gone."""

    FOLLOW = "follow"
    WAIT = "wait"
    STOPPED = "stopped"
    FAILED = "failed"


def judge(state: ServiceState) -> Verdict:
    """What to do; FOLLOW where there is a main process, perhaps one whose end systemd has yet to notice."""
    if state.main_pid:
        return Verdict.FOLLOW
    if state.job or "auto-restart" in state.sub:
        return Verdict.WAIT
    if state.active == "failed":
        return Verdict.FAILED
    # A service may count as active with nothing running (RemainAfterExit= in systemd.service(5)).
    return Verdict.STOPPED if state.active == "inactive" or state.sub == "exited" else Verdict.WAIT


def refusal(service: RestartedService, state: ServiceState) -> str | None:
    """Why the service can't be kept running, and what to do; None where it can."""
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
    """Why a service is not started again, for a sentence that begins with the service.

    `result` is that of its last end even where the limit of starts was the reason (systemd.unit(5)).
    """
    if state.result == "start-limit-hit" or state.result in _COVERED.get(state.restart, ()):
        return f"ended too often, and systemd gave it up ({state.result}; see StartLimitBurst= of the unit)"
    return f"ended, and is not started again ({state.result}; it has Restart={state.restart})"


def forgotten(last: ServiceState | None, result: str) -> str:
    """The same of one that its manager has forgotten; `last` is what it said before, where it was asked."""
    if last is not None:
        return failure(replace(last, result=result))
    return f"ended, and systemd gave it up ({result}; with CollectMode=inactive it would not forget it too)"


class Ends:
    """When main processes of a service ended, to tell a crash loop that is too slow for systemd's limit."""

    def __init__(self) -> None:
        self._times: deque[int] = deque()

    def note(self, now: int, most: int, period: int) -> bool:
        """Note one at `now` ms; whether there were more than `most` within `period` ms."""
        self._times.append(now)
        while self._times[0] <= now - period:
            self._times.popleft()
        return len(self._times) > most


def successor(owner: Owner, pid: int, start_ticks: int) -> Owner:
    """The owner where the service has this main process; the task is the service's, not a connection's."""
    return Owner(pid, start_ticks, owner.app, None, owner.unit)
