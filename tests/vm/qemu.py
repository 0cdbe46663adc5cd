# SPDX-License-Identifier: Apache-2.0
"""Start qemu on an image and end it by its id."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from vm.images import accelerator, battery
from vm.monitor import Monitor

_KERNEL = (
    "root=/dev/vda rw console=ttyS0 systemd.getty_auto=no mem_sleep_default=deep"
    " no_console_suspend pm_debug_messages"  # where it gets stuck on its way to sleep is on the console
)
_MEMORY = 1024
"""MiB."""


class Qemu:
    """One running machine; the image is not written to.  It has no network.

    `console` is a file with what the kernel and systemd print, `monitor` is qemu's own, and `connect()` opens
    the other end of "port" (the virtio port missiond-test) or "terminal" (/dev/hvc0).  When this process
    dies, qemu does.
    """

    def __init__(self, image: Path) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="missiond-vm-")
        self._path = Path(self._directory.name)
        self.console = self._path / "console"
        with (self._path / "said").open("wb") as said:
            self._process = subprocess.Popen(
                [
                    "nice",
                    "-n",
                    "-5",
                    "setpriv",
                    "--pdeathsig",
                    "KILL",
                    "qemu-system-x86_64",
                    *self._options(image),
                ],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TMPDIR": self._directory.name},
                start_new_session=True,  # a Ctrl-C here is not for the machine: close() ends it
            )
        try:
            self._prefer()
            self._wait_sockets(time.monotonic() + 30)
            self.monitor = Monitor(self._path / "monitor")
        except BaseException:
            self.close()
            raise

    def _prefer(self) -> None:
        """Be as nice beside other sessions too (autogroups, sched(7)), as far as we may."""
        with contextlib.suppress(OSError):
            Path(f"/proc/{self._process.pid}/autogroup").write_text("-5")

    def _options(self, image: Path) -> list[str]:
        path = self._path
        sockets = [
            f"socket,id={name},path={path / name},server=on,wait=off"
            for name in ("port", "terminal", "monitor")
        ]
        return [
            *("-nodefaults", "-display", "none", "-no-reboot", *accelerator()),
            # One processor: taking others offline for sleep now and then hangs where they are emulated.
            *("-smp", "1", "-m", str(_MEMORY)),
            *("-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd.img"), "-append", _KERNEL),
            *("-drive", f"file={image / 'disk.img'},if=virtio,format=raw,snapshot=on"),
            *("-acpitable", f"file={battery(path)}"),
            *("-serial", f"file:{self.console}", "-serial", "null"),
            *(word for each in sockets for word in ("-chardev", each)),
            *("-device", "virtio-serial-pci"),
            *("-device", "virtserialport,chardev=port,name=missiond-test"),
            *("-device", "virtconsole,chardev=terminal"),
            *("-mon", "chardev=monitor,mode=control"),
        ]

    def _wait_sockets(self, deadline: float) -> None:
        """The monitor's is made last."""
        while not (self._path / "monitor").exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"qemu did not start:\n{(self._path / 'said').read_text(errors='replace')}"
                )
            time.sleep(0.02)

    def connect(self, name: str) -> socket.socket:
        """Return a connection to one of the machine's serial devices; there can be one at a time of each."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(self._path / name))
        except BaseException:
            connection.close()
            raise
        return connection

    def printed(self) -> str:
        """Return the end of what the console and qemu itself said."""
        said = (self._path / "said").read_text(errors="replace")
        return self.console.read_text(errors="replace")[-4000:] + said

    def close(self) -> None:
        """Cut its power, and take away what belongs to it; harmless when done twice."""
        if hasattr(self, "monitor"):
            self.monitor.close()
        self._process.kill()
        self._process.wait(timeout=20)
        self._directory.cleanup()
