# SPDX-License-Identifier: Apache-2.0
"""Round trips of an echo call on a private bus.

Run as `python tests/bench/bench_echo.py [CALLS] [--json]`.  The client is the same raw socket every time, so
the differences are the services'.  "Stock" is an echo by the library alone: its own connection and a message
handler.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from standins.clients.raw_client import RawClient

ROOT = Path(__file__).resolve().parents[2]
PIPELINED = 50
WARM_UP = 200

Figures = dict[str, float]


async def measure(calls: int) -> dict[str, Figures]:
    """Time each kind of call: p50 and p99 of one at a time (µs), and the rate of many at once (1/s)."""
    from standins.programs.sample_service import PATH, SAMPLE

    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(served("--serve"))
        stock = await stack.enter_async_context(served("--serve-stock"))
        asked = {
            "echo, stock": (stock, stock.frame(PATH, SAMPLE, "Echo", "s", ["hello"])),
            "echo": (ours, ours.frame(PATH, SAMPLE, "Echo", "s", ["hello"])),
            "echo, async with caller": (ours, ours.frame(PATH, SAMPLE, "Who")),
            "ping": (ours, ours.frame(PATH, "org.freedesktop.DBus.Peer", "Ping")),
        }
        figures = await by_turns(asked, calls)
        for kind, (client, frame) in asked.items():
            figures[kind]["rate"] = await rate(client, frame, calls)
    return figures


async def by_turns(asked: dict[str, tuple[RawClient, bytes]], calls: int) -> dict[str, Figures]:
    """One call at a time, of one kind after the other, so that all meet the same machine."""
    times: dict[str, list[float]] = {kind: [] for kind in asked}
    for turn in range(-WARM_UP, calls):
        for kind, (client, frame) in asked.items():
            begun = time.perf_counter()
            await client.ask(frame)
            if turn >= 0:
                times[kind].append((time.perf_counter() - begun) * 1e6)
    cuts = {kind: quantiles(values, n=100) for kind, values in times.items()}
    return {kind: {"p50": cut[49], "p99": cut[98]} for kind, cut in cuts.items()}


async def rate(client: RawClient, frame: bytes, calls: int) -> float:
    """Answers a second when many calls are sent at once."""
    from missiond.bus.wire.message import RETURN

    begun = time.perf_counter()
    for _ in range(calls // PIPELINED):
        # the bus refuses two calls with one serial
        await client.send(
            b"".join(frame[:8] + (n + 1).to_bytes(4, "little") + frame[12:] for n in range(PIPELINED))
        )
        assert all(answer.type == RETURN for answer in await client.answers(PIPELINED))
    return calls / (time.perf_counter() - begun)


@asynccontextmanager
async def served(how: str) -> AsyncIterator[RawClient]:
    """A client of a service that runs in a process and on a bus of its own."""
    from standins.clients.raw_client import raw_client
    from standins.services.private_bus import running_bus

    with running_bus() as bus:
        child = await asyncio.create_subprocess_exec(
            sys.executable, __file__, how, bus.address, stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        try:
            assert await child.stdout.readline() == b"ready\n"
            async with raw_client(bus.address) as client:
                yield client
        finally:
            if child.returncode is None:
                child.terminate()
            await child.wait()


async def serve(address: str) -> None:
    """Be the service, until the bus goes."""
    from standins.programs.sample_service import running_service

    async with running_service(address) as service:
        print("ready", flush=True)
        await service.connection.wait_for_disconnect()


async def serve_stock(address: str) -> None:
    """Be an echo that is nothing but the library."""
    from dbus_next import Message
    from dbus_next.aio import MessageBus

    from standins.programs.sample_service import NAME

    bus = await MessageBus(bus_address=address).connect()

    def echo(message: Any) -> Any:
        if message.member != "Echo":
            return None
        return Message.new_method_return(message, "s", [message.body[0]])

    bus.add_message_handler(echo)
    await bus.request_name(NAME)
    print("ready", flush=True)
    await bus.wait_for_disconnect()


def main() -> None:
    """Measure and print, or be one of the processes that this takes."""
    how, *arguments = sys.argv[1:] or [""]
    if how == "--serve":
        asyncio.run(serve(*arguments))
    elif how == "--serve-stock":
        asyncio.run(serve_stock(*arguments))
    else:
        figures = asyncio.run(measure(int(how) if how.isdecimal() else 3000))
        if "--json" in sys.argv:
            print(json.dumps(figures))
            return
        for kind, found in figures.items():
            times = f"p50 {found['p50']:6.0f} µs  p99 {found['p99']:6.0f} µs"
            print(f"{kind:24} {times}  pipelined {found['rate']:6.0f}/s")


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "agent"), str(ROOT / "tests")]
    main()
