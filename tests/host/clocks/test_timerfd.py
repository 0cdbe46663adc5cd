# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import errno
import os

import pytest

from missiond.host.clocks.timerfd import ClockSetting
from standins.open_files import open_files


async def test_it_calls_back_each_time_that_the_kernel_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may set the clock of the machine that runs the tests; the virtual machine's is set."""
    before, heard = set(open_files()), 0

    def hear() -> None:
        nonlocal heard
        heard += 1

    setting = ClockSetting(hear)
    await asyncio.sleep(0)
    assert heard == 0

    def cancelled(fd: int, length: int) -> bytes:
        raise OSError(errno.ECANCELED, "Operation canceled")

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", cancelled)
        for count in (1, 2):
            setting._readable()
            assert heard == count
    setting._readable()
    assert heard == 2
    setting.close()
    setting.close()
    assert set(open_files()) == before
