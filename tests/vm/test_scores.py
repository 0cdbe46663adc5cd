# SPDX-License-Identifier: Apache-2.0
"""oom_score_adj where going below 0 takes a privilege, as on hosts of people: all of it is given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hosts.client import start

if TYPE_CHECKING:
    from vm.machine import Machine


def _score(machine: Machine, pid: int) -> int:
    return int(machine.run(["cat", f"/proc/{pid}/oom_score_adj"]).stdout.split()[0])


def _set(machine: Machine, pid: int, score: int) -> bool:
    """Have alice set it; whether she may."""
    command = ["sh", "-c", f"echo {score} >/proc/{pid}/oom_score_adj"]
    return machine.run(command, user="alice", check=False).returncode == 0


@pytest.mark.parametrize("made", [-299, -1, 0, 100])
def test_nothing_is_kept_without_a_task(machine: Machine, made: int) -> None:
    """Nor may it be set later what the task had allowed."""
    owner = machine.spawn(["sleep", "600"], user="alice")
    for _ in range(2):
        task = start(machine, owner, "voip")
        machine.wait_for(lambda: _score(machine, owner.pid) == -300)
        assert _set(machine, owner.pid, made)
        machine.tasks("CancelContinuousTask", "u", str(task), user="alice")
        machine.wait_for(lambda: _score(machine, owner.pid) == max(made, 0))
        machine.wait_for(lambda: machine.run(["ls", "/run/missiond/protection"]).stdout == "")
        assert not _set(machine, owner.pid, -1)
        assert _set(machine, owner.pid, 0)
    owner.signal("KILL")
    machine.wait_for(lambda: machine.locks() == [])
