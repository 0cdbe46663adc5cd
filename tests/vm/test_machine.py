# SPDX-License-Identifier: Apache-2.0
"""The machine itself: what containers lack is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vm.machine import Machine


def test_the_service_is_up_and_the_machine_is_well(machine: Machine) -> None:
    machine.wait_active()
    state = machine.systemctl("is-system-running", "--wait", check=False)
    assert state == "running", machine.systemctl("--failed")
    assert machine.show("missiond.service", "NRestarts") == "0"
