# SPDX-License-Identifier: Apache-2.0
"""What a user's manager is told of a mission."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from missiond.core.launch.description import LaunchDescription
from missiond.units import launches
from missiond.units.launches import Launches

UNIT = f"app-missiond-x@{'a' * 32}.service"


class Manager:
    """Starts nothing, and remembers what was to be started."""

    told: dict[str, object]

    def __init__(self, _runtime: Path, _timeout: float) -> None:
        Manager.told = {}

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, _unit: str) -> dict[str, Any]:
        return {"ActiveState": "active", "MainPID": 7} if self.told else {}

    def forget_failed(self, unit: str) -> None:
        pass

    def start_transient(self, _unit: str, properties: Sequence[tuple[str, str, object]]) -> str:
        Manager.told = {name: value for name, _, value in properties}
        return "done"


@pytest.mark.parametrize(
    ("umask", "modes"), [(0o077, (0o077, 0o700)), (0o002, (0o002, 0o755)), (None, (None, None))]
)
def test_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int | None, modes: tuple[int | None, int | None]
) -> None:
    """A directory for its state is no more open to others than those that it makes itself."""
    monkeypatch.setattr(launches, "UserManager", Manager)
    what = LaunchDescription(("/bin/x",), state_directory="x", umask=umask)
    Launches(tmp_path).start(UNIT, what, [], "")
    assert (Manager.told.get("UMask"), Manager.told.get("StateDirectoryMode")) == modes
    assert Manager.told["RuntimeDirectoryMode"] == 0o700
