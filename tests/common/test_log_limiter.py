# SPDX-License-Identifier: Apache-2.0
"""Warnings that others can cause."""

from __future__ import annotations

import logging

import pytest

from missiond.common.log_limiter import REMEMBERED, REPEAT, LogLimiter


class Time:
    """Seconds, as a test wants them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def now() -> Time:
    return Time()


@pytest.fixture
def limiter(now: Time) -> LogLimiter:
    return LogLimiter(logging.getLogger("test"), burst=3, interval=60.0, now=now)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return found


def test_a_few_a_minute_and_then_a_count(
    limiter: LogLimiter, now: Time, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(5):
        limiter.warning("%d", number)
    assert said(caplog) == ["0", "1", "2"]
    now.now = 61.0
    limiter.warning("again")
    assert said(caplog) == ["2 similar messages were left out", "again"]


def test_the_same_once_an_hour(limiter: LogLimiter, now: Time, caplog: pytest.LogCaptureFixture) -> None:
    for key in "aab":
        limiter.once(key, "of %s", key)
    assert said(caplog) == ["of a", "of b"]
    now.now = REPEAT
    limiter.once("a", "of a")
    assert said(caplog) == ["of a"]


def test_many_keys_cost_no_memory(limiter: LogLimiter, now: Time) -> None:
    for number in range(2 * REMEMBERED):
        now.now += 60.0
        limiter.once(number, "of %d", number)
    assert len(limiter._said) == REMEMBERED


def test_what_is_left_out_is_not_remembered_as_said(
    limiter: LogLimiter, now: Time, caplog: pytest.LogCaptureFixture
) -> None:
    for key in "abcd":
        limiter.once(key, "of %s", key)
    assert said(caplog) == ["of a", "of b", "of c"]
    now.now = 61.0
    limiter.once("d", "of d")
    assert said(caplog)[-1] == "of d"


def test_errors_come_with_their_reason(limiter: LogLimiter, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(4):
        limiter.error("failed", exc_info=ValueError("broken"))
    assert caplog.text.count("ValueError: broken") == 3
