# SPDX-License-Identifier: Apache-2.0
"""Other settings for logind, for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hosts.client import manager

if TYPE_CHECKING:
    from vm.machine import Machine

DROP_IN = "/etc/systemd/logind.conf.d/missiond-test.conf"
_LOGIND = "systemd-logind.service"


@contextlib.contextmanager
def logind(machine: Machine, *lines: str) -> Iterator[None]:
    """Start it again with these lines in its [Login] section; afterwards as it was."""
    machine.run(["mkdir", "-p", DROP_IN.rpartition("/")[0]])
    machine.run(["tee", DROP_IN], stdin="\n".join(["[Login]", *lines, ""]))
    machine.systemctl("restart", _LOGIND)
    try:
        yield
    finally:
        machine.run(["rm", "-f", DROP_IN])
        machine.systemctl("restart", _LOGIND)
        machine.wait_for(lambda: manager(machine, "Degraded") == "as 0")
