# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from types import SimpleNamespace

import pytest

from missiond.daemon import shortage
from missiond.daemon.shortage import QUIET, Shortage
from missiond.degraded import Degraded


def test_it_is_shown_as_long_as_it_lasts_and_logged_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 100.0
    monkeypatch.setattr(shortage, "time", SimpleNamespace(monotonic=lambda: now))
    degraded = Degraded()
    short = Shortage(degraded, "missions")
    short.worked()
    for _ in range(50):
        short.failed("Too many open files")
        short.failed("Too many open files")
        assert "Too many open files" in degraded.sentences[0]
        short.worked()
        assert not degraded
    assert len(caplog.records) == 1
    now += QUIET
    short.failed("Too many open files")
    assert len(caplog.records) == 2
