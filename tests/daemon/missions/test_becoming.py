# SPDX-License-Identifier: Apache-2.0
"""Nothing is told of before it is the program that it will be."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.missions.test_scanner import SESSION, World
from daemon.missions.test_scanner import world as _world
from missiond.daemon.missions import user_scanner
from missiond.daemon.missions.probe import of_process
from missiond.host.processes import jobs
from missiond.host.processes import stat as process_stat
from missiond.host.processes.stat import Stat
from standins.programs.running import SHELL, copy_of_shell, running

world = _world
UNIT = "user.slice/user-1000.slice/user@1000.service/app.slice/app-x-org.example.X-7.service"


def stat(name: bytes, *, age: float = 0.0, is_fork: bool = False) -> Stat:
    fork = process_stat._FORK_NO_EXEC if is_fork else 0
    own = process_stat.read(os.getpid())
    return replace(own, name=name, start_ticks=_ticks_ago(age), flags=fork)


def _ticks_ago(age: float) -> int:
    return int((time.clock_gettime(time.CLOCK_BOOTTIME) - age) * process_stat.TICKS)


@pytest.mark.parametrize(
    ("name", "argv", "age", "is_fork", "becoming"),
    [
        (b"9", [b"/usr/lib/systemd/systemd-executor", b"--deserialize"], 0, False, True),
        (b"9", [b"(sleep)", b"", b""], 0, False, True),
        (b"systemd-executo", [b"/usr/lib/systemd/systemd-executor"], 0, False, True),
        (b"systemd", [b"/usr/lib/systemd/systemd", b"--user"], 0, True, True),
        (b"(sleep)", [b"(sleep)"], 0, False, True),
        (b"(sd-pam)", [b"(sd-pam)"], 0, False, True),
        (b"setsid", [b"setsid", b"x"], 1, False, True),
        (b"missionctl", [b"/usr/bin/python3", b"-I"], 1, False, True),
        (b"missionctl", [b"/usr/bin/python3", b"-I"], 3, False, False),
        (b"bash", [b"bash", b"-c", b"x"], 0, False, True),
        (b"bash", [b"bash", b"-c", b"x"], 1, False, False),
        (b"editor", [b"editor"], 0, True, True),
        (b"editor", [b"editor"], 1, True, False),
        (b"editor", [b"editor"], 0, False, False),
        (b"systemd", [b"/sbin/init"], 3, False, False),
    ],
)
def test_what_is_about_to_become_another(
    name: bytes, argv: list[bytes], age: float, is_fork: bool, becoming: bool
) -> None:
    assert jobs.is_becoming(stat(name, age=age, is_fork=is_fork), lambda _: argv) is becoming


async def _begin(world: World, tmp_path: Path, name: str) -> int:
    """Start what becomes a shell called `program`, once it gets a line."""
    wrapper = os.fsdecode(copy_of_shell(os.fsencode(tmp_path / name)))
    program = os.fsdecode(copy_of_shell(os.fsencode(tmp_path / "program")))
    return world.start(wrapper, "-c", f"echo; read line; exec {program} -c 'echo; read line; true'")


@pytest.mark.parametrize("path", [SESSION, UNIT])
async def test_a_wrapper_is_told_of_as_what_it_becomes(world: World, tmp_path: Path, path: str) -> None:
    pid = await _begin(world, tmp_path, "setsid")
    world.line()
    place = world.group(path, pid)
    world.discovery.populated(place, frozen=False)
    assert world.sink.there == {}
    stdin = world.processes[-1].stdin
    assert stdin is not None
    stdin.write(b"\n")
    stdin.flush()
    world.line()
    world.discovery.programs_started()
    while not world.sink.there:
        await asyncio.sleep(0.005)
    assert [(seen.leader.pid, seen.label) for seen in world.sink.there.values()] == [(pid, "program")]


@pytest.mark.parametrize("path", [SESSION, UNIT])
async def test_one_that_stays_is_told_of_a_little_later(
    world: World, tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is heard of a program that needs no dynamic linker."""
    monkeypatch.setattr(jobs, "SETTLED", 0.3)
    assert user_scanner.UNNAMED_DELAY < 0.3
    pid = await _begin(world, tmp_path, "env")
    world.line()
    world.discovery.populated(world.group(path, pid), frozen=False)
    assert world.sink.there == {}
    while not world.sink.there:
        await asyncio.sleep(0.005)
    assert [seen.label for seen in world.sink.there.values()] == ["env"]


def test_what_is_registered_has_the_name_of_what_it_will_be(tmp_path: Path) -> None:
    wrapper = copy_of_shell(os.fsencode(tmp_path / "missionctl"))
    with running(wrapper) as pid:
        assert of_process(pid).label == "missionctl"
        assert of_process(pid, ["/opt/program", "x"]).label == "program"
        assert of_process(pid, ["sh", "x"]).app_id == Path(SHELL).name
    with running(SHELL) as pid:
        assert of_process(os.getpid(), ["/opt/program"]).label != "program"
