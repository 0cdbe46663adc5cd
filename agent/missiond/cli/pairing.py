# SPDX-License-Identifier: Apache-2.0
"""missionctl peers pair: two people compare a code."""

from __future__ import annotations

import asyncio
import sys

from missiond.cli.devices import SHOWN, called
from missiond.cli.exits import CommandError, Exit
from missiond.client import Signals
from missiond.client_peers import Peer, Peers

PATIENCE = 150.0
"""Seconds for the people at the other host; the agents give up after two minutes."""


async def with_device(peers: Peers, peer: Peer) -> None:
    """Pair with this one; raises CommandError where people say no, or nothing."""
    async with peers.changes(peer.device_id) as changes:
        code = await peers.request_pairing(peer.device_id)
        await _compare(peers, peer.device_id, called(peer), code)
        now = await _settled(peers, peer.device_id, changes)
    if now is None or now.state not in ("offline", "connected"):
        raise CommandError(Exit.REFUSED, "not paired: the other host said no, or nothing; ask again")
    print(f"Paired with {called(now)}.")


async def with_whoever_asks(peers: Peers) -> None:
    """Wait for a device that wants to pair, and do; raises as with_device."""
    await peers.known()  # says so where peers are off
    async with peers.pairing_requests() as requests:
        print("Waiting for a host that wants to pair; Ctrl-C ends that.", flush=True)
        device_id, _name, _code = await anext(requests)
    now = await _look(peers, device_id)
    if now is None:
        raise CommandError(Exit.REFUSED, "the other host has taken its request back; ask again")
    await with_device(peers, now)


async def _compare(peers: Peers, device_id: str, name: str, code: str) -> None:
    print(f"{name} ({device_id[:SHOWN]}) and this host must both show the code   {code}", flush=True)
    print("Do they? [y/N] ", end="", flush=True)
    answer = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    accept = answer.strip().lower() in ("y", "yes")
    await peers.confirm_pairing(device_id, accept=accept)
    if not accept:
        raise CommandError(
            Exit.REFUSED, "not paired; look for whoever is between the two hosts, and ask again"
        )


async def _look(peers: Peers, device_id: str) -> Peer | None:
    return next((peer for peer in await peers.known() if peer.device_id == device_id), None)


async def _settled(peers: Peers, device_id: str, changes: Signals) -> Peer | None:
    """Wait for the people at the other host."""
    now = await _look(peers, device_id)
    try:
        async with asyncio.timeout(PATIENCE):
            while now is not None and now.state == "pairing":
                await anext(changes)
                now = await _look(peers, device_id)
    except TimeoutError:
        return now
    return now
