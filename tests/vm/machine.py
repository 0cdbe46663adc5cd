# SPDX-License-Identifier: Apache-2.0
"""Class Machine: a host that is a virtual machine, with a battery and with real sleep."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from hosts.machine import Host
from hosts.spawned import Spawned
from vm.guest import Guest
from vm.qemu import Qemu
from vm.spawned import GuestSpawned

BOOT = 300.0
"""Seconds that a machine may take to boot: pure emulation on a busy computer is slow."""

SLOWER = 4.0
"""A machine may take this much longer than a container for what tests wait for."""

_REGISTER = """
import os, sys
port = os.open("/dev/port", os.O_WRONLY)
os.pwrite(port, bytes([int(sys.argv[1])]), 0x2FF)
"""
_SUPPLIES = "/sys/class/power_supply"


class Machine(Host):
    """A host that boots its own kernel; what Host offers works here too, except options of containers.

    `took` is the seconds that booting took.  Commands start in no unit's control group, as in a container.
    """

    slower = SLOWER

    def __init__(self, image: Path) -> None:
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            self.qemu = Qemu(image)
            stack.callback(self.qemu.close)
            self._guest = Guest(self.qemu.connect("port"))
            stack.callback(self._guest.close)
            if not self._guest.wait_ready(BOOT):
                raise RuntimeError(f"the machine did not come up:\n{self.qemu.printed()}")
            self._spawned: list[Spawned] = []
            stack.callback(self.end_spawned)
            self.run(["systemctl", "is-system-running", "--wait"], check=False, timeout=BOOT)
            self._stack = stack.pop_all()
        self.took = time.monotonic() - began

    # Commands

    def enter(self, command: list[str], user: str | None = None) -> list[str]:
        """There is no command line that enters a virtual machine."""
        raise NotImplementedError(f"run() or spawn() {command} as {user}")

    def run(
        self,
        command: list[str],
        *,
        user: str | None = None,
        check: bool = True,
        timeout: float = 30.0,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, output captured; raises with that output when it fails (check)."""
        deadline = time.monotonic() + timeout * SLOWER
        number, remote = self._guest.start(command, user, stdin=stdin is not None)
        if stdin is not None:
            self._guest.feed(number, stdin.encode())
            self._guest.feed(number, None)
        try:
            remote.wait_start(timeout * SLOWER)
            status = remote.wait_exit(deadline)
            out, err = (each.wait_end(deadline).decode(errors="replace") for each in (remote.out, remote.err))
        except TimeoutError:
            raise AssertionError(f"{command} did not end\n{self.qemu.printed()}") from None
        if check and status != 0:
            raise AssertionError(f"{command} exited {status}\n{out}{err}")
        return subprocess.CompletedProcess(command, status, out, err)

    def spawn(self, command: list[str], *, user: str | None = None) -> Spawned:
        """Start a command in the background; it is ended with the host at the latest."""
        process = GuestSpawned(self, self._guest, command, user)
        self._spawned.append(process)
        return process

    @staticmethod
    def wait_for(condition: Callable[[], object], timeout: float = 10.0) -> None:
        """Look at a condition until it holds; TimeoutError when it does not in time.

        Rests as long as a look takes, so that half of the processor is for what is waited for.
        """

        def look() -> bool:
            began = time.monotonic()
            if condition():
                return True
            time.sleep(min(time.monotonic() - began, 1.0))
            return False

        Host.wait_for(look, timeout * SLOWER)

    # Power

    def battery(
        self, percent: int, *, plugged: bool = False, udev: bool = True, silent: bool = False
    ) -> None:
        """Charge or drain the battery and plug it in or out, then have the kernel say so, unless `silent`.

        `udev` waits until udev has said it too, which takes one that works.
        """
        self.python(_REGISTER, str((100 - percent) | (0 if plugged else 0x80)))
        # The kernel keeps what it read for a second.
        self.wait_for(lambda: self._supply("BAT0", "capacity") == str(percent))
        if silent:
            return
        if udev:
            self.power_event()
        else:
            self.run(["tee", f"{_SUPPLIES}/BAT0/uevent"], stdin="change")

    def _supply(self, name: str, attribute: str) -> str:
        return self.run(["cat", f"{_SUPPLIES}/{name}/{attribute}"]).stdout.strip()

    def power_event(self, supply: str = "BAT0", action: str = "change") -> None:
        """Have the kernel send the event of a power supply."""
        self.run(["udevadm", "trigger", "--settle", f"--action={action}", f"{_SUPPLIES}/{supply}"])

    # Sleep

    def wait_suspended(self, timeout: float = 30.0) -> None:
        """Wait until it sleeps."""
        self.qemu.monitor.wait_event("SUSPEND", timeout * SLOWER)
        assert self.qemu.monitor.status() == "suspended"

    def wake(self) -> None:
        """Wake it up; returns once it runs commands again.  The battery is full then, and on mains."""
        self.qemu.monitor.execute("system_wakeup")
        self.qemu.monitor.wait_event("WAKEUP", 30 * SLOWER)
        self.run(["true"], timeout=60)
