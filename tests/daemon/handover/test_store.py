# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from missiond.daemon.handover.store import MOST_RESERVE, RESERVE, HandoverStore, reserve


@pytest.mark.parametrize(
    ("disk", "kept"),
    [(0, RESERVE), (4 << 30, (4 << 30) // 20), (1 << 50, MOST_RESERVE)],
)
def test_a_part_of_the_disk_is_kept_free(disk: int, kept: int) -> None:
    assert reserve(disk) == kept


async def test_states_are_refused_before_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = HandoverStore(tmp_path)
    free = 300 << 20
    monkeypatch.setattr(
        os, "fstatvfs", lambda _: SimpleNamespace(f_bavail=free >> 12, f_blocks=1 << 20, f_frsize=1 << 12)
    )
    kept = reserve(1 << 32)
    part = disk.make_part("0" * 32, free - kept)
    os.close(part.fd)
    with pytest.raises(OSError, match="do not fit the disk"):
        disk.make_part("1" * 32, free - kept + 1)
    disk.close()
