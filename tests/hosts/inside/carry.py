# SPDX-License-Identifier: Apache-2.0
"""The agent's half of hand-overs, run as its user in its place: sends to a peer, or takes what one sends."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from typing import cast

from missiond.bus.connection import Connection
from missiond.bus.wire.message import Incoming
from missiond.daemon.handover.client import HandoverClient
from missiond.daemon.handover.handovers import Handovers
from missiond.errors import AgentError

NAME = "org.missiond.Agent1"
SIZE = 50_000_000
TRANSFER = "1f" * 16


def say(*words: object) -> None:
    print(json.dumps(words), flush=True)


def sha(fd: int) -> str:
    return hashlib.sha256(os.pread(fd, SIZE, 0)).hexdigest()


class Listener:
    """Says what it hears."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.states = self

    def progress(self, _transfer: str, done: int, *, sending: bool) -> None:
        say("progress", done, sending)

    def complete(self, _transfer: str) -> None:
        say("complete", sha(FILE))

    def failed(self, _transfer: str, reason: str) -> None:
        say("failed", reason)

    def link(self, device_id: str, *, up: bool) -> None:
        say("up" if up else "down", device_id)
        if up:
            self.up.set()
        else:
            self.up.clear()


FILE = os.open("/tmp", os.O_RDWR | os.O_TMPFILE, 0o600)


async def take(client: HandoverClient, device: str) -> None:
    """Own the agent's name, and take what comes."""
    named = await Connection.open()

    def called(call: Incoming) -> None:
        if call.member == "HandOver":
            step, body, permissions = call.body[2:]
            say("letter", step, body, permissions)
            named.reply(call)
        else:
            named.reply_error(call, "org.freedesktop.DBus.Error.UnknownMethod", "not here")

    named.set_call_handler(called)
    [answer] = await named.call_bus("RequestName", "su", (NAME, 4))
    assert answer == 1, answer
    await client.expect_state(device, TRANSFER, FILE, 0, SIZE)
    say("ready")
    await asyncio.Event().wait()


async def send(client: HandoverClient, listener: Listener, device: str) -> None:
    """Send a message and a state, again until it is there."""
    os.write(FILE, os.urandom(SIZE))
    say("has", sha(FILE))
    while True:
        await listener.up.wait()
        try:
            await client.send(device, TRANSFER, "offer", '{"mission": 7}')
            begun = asyncio.get_running_loop().time()
            await client.send_state(device, TRANSFER, FILE, 0, SIZE)
        except AgentError as error:
            say("again", str(error))
            listener.up.clear()
        else:
            say("sent", asyncio.get_running_loop().time() - begun)
            return


async def main(what: str, device: str) -> None:
    client = HandoverClient(await Connection.open(fds=True))
    listener = Listener()
    await client.start(cast("Handovers", listener))
    await listener.up.wait()
    if what == "take":
        await take(client, device)
    else:
        await send(client, listener, device)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
