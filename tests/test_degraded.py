# SPDX-License-Identifier: Apache-2.0
"""What is missing is shown as long as it is, and is in the log once until it works again."""

from __future__ import annotations

import pytest

from missiond.degraded import MOST, Degraded


@pytest.fixture
def degraded(caplog: pytest.LogCaptureFixture) -> Degraded:
    caplog.set_level("INFO")
    return Degraded()


def test_who_needs_it_now_and_then_is_told_once(degraded: Degraded, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        for sentence in ("no a", "no b"):
            degraded.set("x", sentence)
            assert degraded.sentences == [sentence]
        degraded.drop("x")
        assert not degraded
    assert caplog.messages == ["degraded: no a", "degraded: no b"]


@pytest.mark.parametrize("dropped", [False, True])
def test_each_change_of_state_is_told(
    degraded: Degraded, caplog: pytest.LogCaptureFixture, *, dropped: bool
) -> None:
    for _ in range(2):
        degraded.set("x", "no a")
        if dropped:
            degraded.drop("x")
        for _ in range(3):
            degraded.set("x", None)
    assert caplog.messages == ["degraded: no a", "x works again"] * 2


def test_a_quiet_change_is_shown_alone(degraded: Degraded, caplog: pytest.LogCaptureFixture) -> None:
    changes: list[list[str]] = []
    degraded.on_change(lambda: changes.append(degraded.sentences))
    degraded.set("x", "no a", quiet=True)
    degraded.set("x", "no a", quiet=True)
    degraded.set("x", None, quiet=True)
    degraded.set("x", None)
    assert (caplog.messages, changes) == ([], [["no a"], []])


def test_what_is_remembered_is_bounded(degraded: Degraded, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(MOST + 1):
        degraded.set("x", f"no {number}")
    degraded.set("x", f"no {MOST - 1}")
    assert len(caplog.messages) == MOST + 1
    degraded.set("x", "no 0")
    assert len(caplog.messages) == MOST + 2
