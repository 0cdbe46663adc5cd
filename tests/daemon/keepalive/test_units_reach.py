# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from missiond.daemon.keepalive.units_reach import UnitsReach
from missiond.degraded import Degraded


async def test_the_sentence_goes_with_the_return_of_the_socket(tmp_path: Path) -> None:
    degraded, back = Degraded(), asyncio.Event()
    reach = UnitsReach(tmp_path / "units.socket", degraded, back.set)
    reach.missing("no missiond-units")
    (tmp_path / "other").write_bytes(b"")
    (tmp_path / "units.socket").write_bytes(b"")
    assert degraded.sentences == ["no missiond-units"]
    (tmp_path / "units.socket").unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(tmp_path / "units.socket"))
        await asyncio.wait_for(back.wait(), 5)
    assert not degraded
    assert reach._watch is None, "nothing is watched while it is there"


async def test_an_answer_ends_the_watch(tmp_path: Path) -> None:
    degraded = Degraded()
    reach = UnitsReach(tmp_path / "units.socket", degraded, lambda: None)
    reach.missing("no missiond-units")
    reach.answered()
    assert not degraded
    assert reach._watch is None


async def test_a_directory_that_can_not_be_watched(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    degraded = Degraded()
    reach = UnitsReach(tmp_path / "none" / "units.socket", degraded, lambda: None)
    reach.missing("no missiond-units")
    assert degraded.sentences == ["no missiond-units"]
    assert "can't watch" in caplog.text
    reach.answered()
    assert not degraded
