# SPDX-License-Identifier: Apache-2.0
"""Round trips of an echo call on a private bus, with each D-Bus library that is installed.

Run as `python tests/bench/bench_echo.py [CALLS]`.  The client is the same raw
socket every time, so the differences are the service's.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PIPELINED = 50


async def measure(calls: int) -> None:
    """Serve in a child process, call from this one, print one line for each kind of call."""
    from missiond.bus.library import describe
    from standins.private_bus import running_bus
    from standins.raw_client import raw_client
    from standins.sample_service import PATH, SAMPLE

    with running_bus() as bus:
        child = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--serve", bus.address, stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        await child.stdout.readline()
        try:
            async with raw_client(bus.address) as client:
                kinds = {
                    "sync echo": client.frame(PATH, SAMPLE, "Echo", "s", ["hello"]),
                    "async, caller known": client.frame(PATH, SAMPLE, "Who"),
                    "Ping": client.frame(PATH, "org.freedesktop.DBus.Peer", "Ping"),
                }
                for kind, frame in kinds.items():
                    await show(f"{describe():18} {kind:20}", client, frame, calls)
        finally:
            child.terminate()
            await child.wait()


async def show(label: str, client: object, frame: bytes, calls: int) -> None:
    """Measure one kind of call, one at a time and many at once."""
    from missiond.bus.wire import RETURN
    from standins.raw_client import RawClient

    assert isinstance(client, RawClient)
    for _ in range(200):
        await client.ask(frame)
    times = []
    for _ in range(calls):
        begun = time.perf_counter()
        await client.ask(frame)
        times.append((time.perf_counter() - begun) * 1e6)
    begun = time.perf_counter()
    for _ in range(calls // PIPELINED):
        # the bus refuses two calls with one serial
        await client.send(
            b"".join(frame[:8] + (n + 1).to_bytes(4, "little") + frame[12:] for n in range(PIPELINED))
        )
        assert all(answer.type == RETURN for answer in await client.answers(PIPELINED))
    rate = calls / (time.perf_counter() - begun)
    cut = statistics.quantiles(times, n=100)
    print(f"{label}  p50 {cut[49]:6.0f} µs  p99 {cut[98]:6.0f} µs  pipelined {rate:6.0f}/s", flush=True)


async def serve(address: str) -> None:
    """Be the service, until the bus goes."""
    from standins.sample_service import running_service

    async with running_service(address) as service:
        print("ready", flush=True)
        await service.connection.wait_for_disconnect()


def main() -> None:
    """Run once for each library, each in its own interpreter."""
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve(sys.argv[2]))
        return
    if sys.argv[1:2] == ["--measure"]:
        asyncio.run(measure(int(sys.argv[2])))
        return
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    path = os.pathsep.join([str(ROOT / "agent"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    for library, module in (("dbus-fast", "dbus_fast"), ("dbus-next", "dbus_next")):
        if importlib.util.find_spec(module) is None:
            print(f"{library}: not installed")
            continue
        subprocess.run(
            [sys.executable, __file__, "--measure", str(calls)], check=True,
            env={**os.environ, "PYTHONPATH": path, "MISSIOND_BUS_LIBRARY": library},
        )  # fmt: skip


if __name__ == "__main__":
    main()
