# SPDX-License-Identifier: Apache-2.0
"""The hosts that are measured: one for each release."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from hosts.client import main_pid
from hosts.machine import Host
from hosts.trees import SUITES

SERVICE = "missiond.service"
INSIDE = Path(__file__).parent / "inside"


class Kind(NamedTuple):
    """What a host is of."""

    release: str


KINDS = tuple(map(Kind, SUITES))


class Fleet:
    """Hosts by kind, booted when first wanted; `close()` ends them."""

    def __init__(self, trees: dict[str, Path]) -> None:
        """:param trees: what to boot, by release."""
        self._trees = trees
        self._hosts: dict[Kind, Host] = {}
        self._stack = contextlib.ExitStack()

    def host(self, kind: Kind) -> Host:
        """The host of this kind, with a daemon that has just been started and rests."""
        if kind not in self._hosts:
            options = [f"--bind-ro={INSIDE}:/mnt/bench/inside"]
            host = Host(self._trees[kind.release], options=options)
            self._hosts[kind] = self._stack.enter_context(host)
        host = self._hosts[kind]
        host.wait_active()
        host.systemctl("restart", SERVICE)
        settle(host)
        return host

    def close(self) -> None:
        """End them."""
        self._stack.close()


def at_once(work: Callable[[Any], None], items: Iterable[Any]) -> None:
    """Do it for all items side by side; raises what the first of them raised."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, items))


def inside(host: Host, program: str, *arguments: str, timeout: float = 120.0) -> Any:
    """Run one of the programs as root, and return the JSON that it prints."""
    return json.loads(host.run(script(program, *arguments), timeout=timeout).stdout)


def script(program: str, *arguments: str) -> list[str]:
    """The command that runs one of the programs inside a host."""
    return ["env", "PYTHONPATH=/mnt", "python3", "-m", f"bench.inside.{program}", *arguments]


def daemon(host: Host, file: str) -> dict[str, int]:
    """The numbers in a file of the daemon's in /proc, by name (status, smaps_rollup: kB)."""
    lines = (process(host) / file).read_text().splitlines()
    parts = [line.replace(":", " ").split() for line in lines]
    return {words[0]: int(words[1]) for words in parts if len(words) > 1 and words[1].isdecimal()}


def process(host: Host, unit: str = SERVICE) -> Path:
    """A daemon's directory in this machine's /proc: a program started in the host would wake the daemon."""
    inside = main_pid(host, unit)
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            numbers = next(line.split()[1:] for line in _lines(status) if line.startswith("NSpid:"))
            if numbers[-1] == inside and host.has(int(numbers[0])):
                return status.parent
    raise AssertionError(f"process {inside} of the host is not to be seen from outside")


def switches(directory: Path) -> tuple[int, int]:
    """How often any of its threads went to sleep or was interrupted, since it started; and went to sleep."""
    lines = [line for status in directory.glob("task/*/status") for line in _lines(status)]
    counts = [(line, int(line.split()[1])) for line in lines if "ctxt_switches:" in line]
    assert len(counts) >= 2
    return sum(count for _, count in counts), sum(n for line, n in counts if line.startswith("voluntary"))


def settle(host: Host) -> None:
    """Wait until the daemon has done nothing for a second."""
    last: list[tuple[int, int]] = []
    directory = process(host)

    def quiet() -> bool:
        last.append(switches(directory))
        return len(last) > 20 and len(set(last[-20:])) == 1

    host.wait_for(quiet, 60)


def _lines(file: Path) -> list[str]:
    return file.read_text(errors="replace").splitlines()
