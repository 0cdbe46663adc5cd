# SPDX-License-Identifier: Apache-2.0
"""Log lines go to standard error, which is never waited for."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from missiond.stderr import Stderr

pytestmark = pytest.mark.timeout(60)
AGENT = Path(__file__).resolve().parents[2] / "agent"
LINE = "x" * 10_000


@pytest.fixture(params=["pipe", "socket"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """Both ends of what is standard error, the reader's first."""
    if request.param == "pipe":
        reader, writer = os.pipe()
    else:
        reader, writer = (each.detach() for each in socket.socketpair())
    yield reader, writer
    for fd in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(fd)


def _take(reader: int) -> str:
    """What waits there."""
    poll, found = select.poll(), b""
    poll.register(reader, select.POLLIN)
    while poll.poll(0) and (data := os.read(reader, 65536)):
        found += data
    return found.decode()


def test_what_is_read_comes_as_it_was_written(ends: tuple[int, int]) -> None:
    reader, writer = ends
    stream = Stderr(writer)
    print("a line", "in parts", file=stream)
    assert stream.write("b\nc ") == 4
    assert _take(reader) == "a line in parts\nb\n"
    stream.write("\udce9\n")
    assert _take(reader) == "c \\udce9\n"


def test_nobody_is_waited_for_and_losses_are_counted(ends: tuple[int, int]) -> None:
    reader, writer = ends
    stream = Stderr(writer, "<4>")
    for number in range(300):
        stream.write(f"{number} {LINE}\n")
    taken = _take(reader)
    stream.write("later\n")
    lines = (taken + _take(reader)).splitlines()
    whole, (lost, last) = lines[:-2], lines[-2:]
    assert whole == [f"{number} {LINE}" for number in range(len(whole))], "no line is torn or out of order"
    assert 0 < len(whole) < 300
    assert lost == f"<4>{300 - len(whole)} lines of the log were lost, which nobody took"
    assert last == "later"
    stream.write("once\n")
    assert _take(reader) == "once\n"


def test_a_reader_that_is_gone_is_no_error(ends: tuple[int, int]) -> None:
    reader, writer = ends
    os.close(reader)
    stream = Stderr(writer)
    for _ in range(3):
        stream.write("x\n")
        stream.flush()


_STANDS = """
import logging, socket, sys
from missiond.logs import set_up
set_up()
for number in range(2000):
    logging.getLogger().warning("%d %s", number, "x" * 1000)
print("and this", file=sys.stderr)
sys.stdout.write("done")
raise SystemExit("so it ends")
"""


@pytest.mark.parametrize("make", [os.pipe, lambda: [each.detach() for each in socket.socketpair()]])
def test_a_service_goes_on_and_ends(make: Callable[[], tuple[int, int]]) -> None:
    """Log lines, other lines and what Python says at the end."""
    reader, writer = make()
    try:
        done = subprocess.run(
            [sys.executable, "-c", _STANDS],
            stdout=subprocess.PIPE,
            stderr=writer,
            check=False,
            timeout=50,
            env=os.environ | {"PYTHONPATH": str(AGENT)},
        )
        assert (done.returncode, done.stdout) == (1, b"done")
        assert "0 xxx" in _take(reader)
    finally:
        os.close(reader)
        os.close(writer)
