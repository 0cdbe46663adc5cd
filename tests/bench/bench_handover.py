# SPDX-License-Identifier: Apache-2.0
"""How fast 50 MB of state cross a link, against TLS alone over the same loopback; prints JSON.

Both ends are in this process, on one processor, so that wall time is what both cost together. The two take
turns, and the best of each counts: other work on the machine only ever makes them slower.
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import json
import os
import ssl
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

STOCK = asyncio.sslproto.SSLProtocol.max_size

from standins.agents.peer_units import Place, places, trust  # noqa: E402

SIZE = 50_000_000
TURNS = 9
_PIECE = 128 * 1024


async def ours(one: Place, other: Place, blob: int, path: Path, turn: int) -> float:
    """Seconds from the call to the answer that all is in the file."""
    transfer = f"{turn:032x}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    await other.commands.expect_state(one.id, transfer, fd, 0, SIZE)
    start = time.perf_counter()
    await one.commands.send_state(other.id, transfer, blob, 0, SIZE)
    seconds = time.perf_counter() - start
    assert os.fstat(fd).st_size == SIZE
    one.commands.forget_handover(transfer)
    other.commands.forget_handover(transfer)
    os.close(fd)
    return seconds


async def raw(server: ssl.SSLContext, client: ssl.SSLContext, blob: int) -> float:
    """Seconds for the same bytes over streams of asyncio's, as they come, into nothing."""
    ended = asyncio.get_running_loop().create_future()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        count = 0
        while data := await reader.read(1 << 18):
            count += len(data)
        writer.close()
        ended.set_result(count)

    listening = await asyncio.start_server(take, "127.0.0.1", 0, ssl=server)
    port = listening.sockets[0].getsockname()[1]
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="")
    start = time.perf_counter()
    for offset in range(0, SIZE, _PIECE):
        writer.write(os.pread(blob, min(_PIECE, SIZE - offset), offset))
        await writer.drain()
    writer.close()
    assert await ended == SIZE
    seconds = time.perf_counter() - start
    listening.close()
    await listening.wait_closed()
    return seconds


async def measure(directory: Path) -> dict[str, float]:
    """MB/s of both."""
    blob = os.memfd_create("state")
    os.write(blob, os.urandom(SIZE))
    small = asyncio.sslproto.SSLProtocol.max_size
    best = {"handover": float("inf"), "raw": float("inf")}
    async with places(directory, "one", "other") as [one, other]:
        trust(other, one, address=False, permissions=["sync", "continue"])
        trust(one, other)
        await one.until_connected(other)
        await other.until_connected(one)
        contexts = one.unit._contexts
        for turn in range(TURNS):
            best["handover"] = min(best["handover"], await ours(one, other, blob, directory / "state", turn))
            asyncio.sslproto.SSLProtocol.max_size = STOCK
            best["raw"] = min(best["raw"], await raw(contexts.server, contexts.stranger, blob))
            asyncio.sslproto.SSLProtocol.max_size = small
    os.close(blob)
    return {name: SIZE / 1e6 / seconds for name, seconds in best.items()}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        print(json.dumps(asyncio.run(measure(Path(made)))))
