# SPDX-License-Identifier: Apache-2.0
"""A network of its own for some hosts: a bridge that nothing else of this machine can reach."""

from __future__ import annotations

import subprocess
import tempfile
import uuid
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hosts.machine import Host

BRIDGE = "br0"
_NETWORK = """\
[Match]
Name=host0

[Network]
LinkLocalAddressing=yes
DHCP=no
"""


def has_address(host: Host) -> bool:
    """Whether a host can be reached over IPv4 and IPv6."""
    shown = host.run(["networkctl", "--no-pager", "status", "host0"]).stdout
    return "169.254." in shown and "fe80::" in shown


class Lan:
    """A network namespace with a bridge in it; both go with the last process in it.

    The keeper reads from a pipe of this process, so that it ends however this process does.
    """

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="missiond-lan-")
        (Path(self._directory.name) / "host0.network").write_text(_NETWORK)
        Path(self._directory.name).chmod(0o755)
        script = f"ip link add {BRIDGE} type bridge && ip link set {BRIDGE} up && echo up && exec cat"
        self._keeper = subprocess.Popen(
            ["unshare", "--net", "--", "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._keeper.stdout is not None
        if self._keeper.stdout.readline() != "up\n":
            self.close()
            raise RuntimeError("there can be no bridge: is iproute2 installed, and is this root?")

    def __enter__(self) -> Lan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def environment(self) -> dict[str, str]:
        """For packaging/lib/container."""
        return {"MISSIOND_NETWORK": f"/proc/{self._keeper.pid}/ns/net"}

    def options(self) -> list[str]:
        """Options of systemd-nspawn for one more host: a port of the bridge, and a machine id of its own."""
        file = Path(self._directory.name) / "host0.network"
        return [
            f"--network-bridge={BRIDGE}",
            f"--uuid={uuid.uuid4().hex}",
            f"--bind-ro={file}:/etc/systemd/network/10-host0.network",
        ]

    def ip(self, *arguments: str) -> str:
        """Run ip(8) on the side of the bridge."""
        command = ["nsenter", "-t", str(self._keeper.pid), "-n", "ip", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout

    def cable(self, host: str, *, plugged: bool) -> None:
        """Plug a host's cable in, or pull it out."""
        self.ip("link", "set", f"vb-{host}", "up" if plugged else "down")

    def slow(self, host: str, rate: str | None) -> None:
        """Let no more than `rate` (tc(8)) through to a host, or all again."""
        command = ["tc", "qdisc", "del" if rate is None else "add", "dev", f"vb-{host}", "root"]
        if rate is not None:
            command += ["tbf", "rate", rate, "burst", "64kb", "latency", "50ms"]
        subprocess.run(
            ["nsenter", "-t", str(self._keeper.pid), "-n", *command],
            check=True,
            capture_output=True,
            text=True,
            timeout=10,
        )

    def close(self) -> None:
        """Take the network away; harmless when done twice."""
        for pipe in (self._keeper.stdin, self._keeper.stdout):
            if pipe is not None:
                pipe.close()
        self._keeper.wait(timeout=10)
        self._directory.cleanup()
