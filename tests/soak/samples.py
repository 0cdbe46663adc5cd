# SPDX-License-Identifier: Apache-2.0
"""Memory and file descriptors of daemons over time, and how they grow."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hosts.machine import Host

UNITS = ("missiond.service", "missiond-peers.service")
WARM_UP = 0.3
"""The share of a daemon's samples that don't count: caches fill."""
_LOOK = """
for unit; do
    pid=$(systemctl show --property=MainPID --value "$unit")
    [ "$pid" != 0 ] || continue
    rss=$(sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\) kB/\\1/p' "/proc/$pid/status")
    echo "$unit $pid ${rss:-0} $(ls "/proc/$pid/fd" | wc -l)"
done
"""


class Sample(NamedTuple):
    """One look at a process; `at` is minutes since the start."""

    at: float
    kilobytes: int
    fds: int


class Growth(NamedTuple):
    """The longest life of a daemon: its first sample that counts, its last, and slopes for a minute."""

    name: str
    lives: int
    minutes: float
    kilobytes: tuple[int, int]
    fds: tuple[int, int]
    kilobytes_a_minute: float
    fds_a_minute: float


@dataclass
class Samples:
    """By daemon (host and unit) and process."""

    began: float = field(default_factory=time.monotonic)
    _lives: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)

    def look(self, host: Host, name: str) -> None:
        """Take a sample of each daemon of a host."""
        at = (time.monotonic() - self.began) / 60
        for line in host.run(["sh", "-c", _LOOK, "sh", *UNITS], check=False).stdout.splitlines():
            unit, pid, kilobytes, fds = line.split()
            life = self._lives.setdefault(f"{name} {unit.removesuffix('.service')}", {}).setdefault(pid, [])
            life.append(Sample(at, int(kilobytes), int(fds)))

    def growth(self) -> list[Growth]:
        """Of each daemon."""
        return [_growth(name, list(lives.values())) for name, lives in sorted(self._lives.items())]


def _growth(name: str, lives: list[list[Sample]]) -> Growth:
    life = max(lives, key=len)
    counted = life[int(len(life) * WARM_UP) :]
    first, last = counted[0], counted[-1]
    times = [sample.at for sample in counted]
    return Growth(
        name,
        len(lives),
        last.at - first.at,
        (first.kilobytes, last.kilobytes),
        (first.fds, last.fds),
        slope(times, [float(sample.kilobytes) for sample in counted]),
        slope(times, [float(sample.fds) for sample in counted]),
    )


def slope(times: list[float], values: list[float]) -> float:
    """Return that of the line with the least squares; 0 where there is none."""
    mean_time, mean = sum(times) / len(times), sum(values) / len(values)
    spread = sum((each - mean_time) ** 2 for each in times)
    if not spread:
        return 0.0
    pairs = zip(times, values, strict=True)
    return sum((at - mean_time) * (value - mean) for at, value in pairs) / spread
