# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.core.keepalive.service_restart import (
    LATE,
    MOST_PAUSE,
    Ends,
    RestartedService,
    ServiceState,
    Verdict,
    failure,
    forgotten,
    judge,
    refusal,
    successor,
)
from missiond.core.tasks.owner import App, Owner

RUNS = ServiceState("loaded", "active", "running", "success", "simple", "no", 100, 42, job=False)
GONE = replace(RUNS, main_pid=0)
SERVICE = RestartedService(1000, "a.service", "user.slice/a.service")


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        (RUNS, Verdict.FOLLOW),
        (replace(RUNS, active="activating", sub="start"), Verdict.FOLLOW),
        (replace(GONE, active="activating", sub="auto-restart"), Verdict.WAIT),
        (replace(GONE, active="inactive", sub="dead-before-auto-restart"), Verdict.WAIT),
        (replace(GONE, active="failed", sub="failed-before-auto-restart"), Verdict.WAIT),
        (replace(GONE, active="activating", sub="start-pre"), Verdict.WAIT),
        (replace(GONE, active="deactivating", sub="stop-sigterm"), Verdict.WAIT),
        (replace(GONE, active="inactive", sub="dead", job=True), Verdict.WAIT),
        (replace(GONE, active="inactive", sub="dead"), Verdict.STOPPED),
        (replace(GONE, load="not-found", active="inactive", sub="dead"), Verdict.STOPPED),
        (replace(GONE, active="active", sub="exited"), Verdict.STOPPED),
        (replace(GONE, active="failed", sub="failed"), Verdict.FAILED),
        (replace(GONE, active="failed", sub="failed", job=True), Verdict.WAIT),
    ],
)
def test_what_follows_from_a_state(state: ServiceState, verdict: Verdict) -> None:
    assert judge(state) is verdict


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (RUNS, None),
        (replace(RUNS, active="activating", sub="start"), None),
        (replace(RUNS, load="not-found"), "systemd has no a.service"),
        (replace(RUNS, kind="oneshot"), "Type=oneshot"),
        (GONE, "no main process"),
        (replace(RUNS, active="deactivating"), "is deactivating"),
        (replace(RUNS, restart_ms=MOST_PAUSE), None),
        (replace(RUNS, restart_ms=MOST_PAUSE + 1), "RestartSec= at most 5 min"),
    ],
)
def test_what_can_be_kept_running(state: ServiceState, text: str | None) -> None:
    said = refusal(SERVICE, state)
    assert (said is None) if text is None else (said is not None and text in said)


@pytest.mark.parametrize(
    ("restart", "result", "given_up"),
    [
        ("no", "exit-code", False),
        ("always", "exit-code", True),
        ("always", "success", True),
        ("on-failure", "exit-code", True),
        ("on-abnormal", "exit-code", False),
        ("on-abort", "signal", True),
        ("no", "start-limit-hit", True),
    ],
)
def test_why_it_is_not_started_again(restart: str, result: str, given_up: bool) -> None:
    said = failure(replace(GONE, active="failed", restart=restart, result=result))
    assert ("gave it up" in said) is given_up
    assert result in said


def test_a_restart_is_due_when_systemd_says() -> None:
    assert replace(GONE, sub="auto-restart").pause == 100 + LATE
    assert RUNS.pause == 0


def test_commands_for_its_manager() -> None:
    assert SERVICE.journal == "journalctl --user -u a.service"
    assert replace(SERVICE, manager=None).journal == "journalctl -u a.service"


def test_a_successor_needs_no_connection() -> None:
    owner = Owner(1, 2, App(1000, "a"), ":1.5", "a.service")
    assert successor(owner, 3, 4) == Owner(3, 4, owner.app, None, "a.service")


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 5), st.integers(1, 100))
def test_too_many_ends_in_too_short_a_time(steps: list[int], most: int, period: int) -> None:
    ends, times = Ends(), list[int]()
    for step in steps:
        times.append((times[-1] if times else 0) + step)
        recent = sum(time > times[-1] - period for time in times)
        assert ends.note(times[-1], most, period) is (recent > most)


def test_one_that_is_forgotten_ends_as_it_was_last_seen() -> None:
    assert forgotten(replace(RUNS, restart="on-abort"), "signal").startswith("ended too often")
    assert "it has Restart=no" in forgotten(RUNS, "signal")
    assert "CollectMode=inactive" in forgotten(None, "signal")


def test_a_service_is_known_by_manager_and_name() -> None:
    assert SERVICE.key == (1000, "a.service")
    assert SERVICE.key == replace(SERVICE, cgroup="elsewhere").key
