# SPDX-License-Identifier: Apache-2.0
"""A bus of our own: dbus-daemon with the limits and the strictness of the system bus, without root."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BUS_NAME = "org.missiond.Agent1"

# the default limits of a system bus apply because none are given
_CONFIGURATION = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={directory}/bus</listen>
  <auth>EXTERNAL</auth>
  {limits}
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
    <allow send_destination="{name}"/>
  </policy>
  <policy user="{uid}">
    <allow own="*"/>
    <allow send_destination="*"/>
  </policy>
</busconfig>
"""


class PrivateBus:
    """A running daemon."""

    def __init__(self, directory: Path, limits: str = "") -> None:
        configuration = directory / "bus.conf"
        configuration.write_text(
            _CONFIGURATION.format(directory=directory, uid=os.getuid(), name=BUS_NAME, limits=limits),
            encoding="utf-8",
        )
        read_end, write_end = os.pipe()
        with os.fdopen(read_end, encoding="ascii") as pipe:
            program = shutil.which("dbus-daemon") or "/usr/bin/dbus-daemon"
            self._process = subprocess.Popen(
                [program, f"--config-file={configuration}", "--nofork", "--nopidfile", "--nosyslog",
                 f"--print-address={write_end}"],
                pass_fds=[write_end],
            )  # fmt: skip
            os.close(write_end)
            self.address = pipe.readline().strip()
        if not self.address:
            self.stop()
            raise RuntimeError("dbus-daemon did not start")

    @property
    def pid(self) -> int:
        """Of the daemon."""
        return self._process.pid

    def stop(self) -> None:
        """End the daemon; again is harmless."""
        self._process.kill()
        self._process.wait()


@contextmanager
def running_bus(limits: str = "") -> Iterator[PrivateBus]:
    """Run a bus for as long as the block lasts; `limits` are elements of its configuration."""
    with tempfile.TemporaryDirectory(prefix="missiond-bus-") as name:
        bus = PrivateBus(Path(name), limits)
        try:
            yield bus
        finally:
            bus.stop()


@pytest.fixture
def private_bus() -> Iterator[PrivateBus]:
    """A bus that the test may also stop."""
    with running_bus() as bus:
        yield bus


@pytest.fixture
def system_bus(private_bus: PrivateBus) -> str:
    """Address of a private bus of type `system`."""
    return private_bus.address
