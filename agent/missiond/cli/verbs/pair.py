# SPDX-License-Identifier: Apache-2.0
"""missionctl peers pair: two people compare a code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import missiond
from missiond.cli.exit_codes import CommandError, Exit

PATIENCE = 150.0
"""Seconds for the people at the other host; the agents give up after two minutes."""


async def with_device(agent: missiond.Agent, peer: missiond.PeerInfo) -> None:
    """Pair with this one; raises CommandError where people say no, or nothing."""
    async with agent.peers.changes(peer.id) as changes:
        code = await peer.pair()
        await _compare(peer, code)
        now = await _settled(agent, peer.id, changes)
    if now is None or now.state not in ("offline", "connected"):
        raise CommandError(Exit.REFUSED, "not paired: the other host said no, or nothing; ask again")
    print(f"Paired with {now.label}.")


async def with_whoever_asks(agent: missiond.Agent) -> None:
    """Wait for a device's request and pair; raises as with_device."""
    await agent.peers()  # says so where peers are off
    await agent.peers.prepare_pairing()
    async with agent.peers.requests() as requests:
        print("Waiting for a host that wants to pair; Ctrl-C ends that.", flush=True)
        request = await anext(requests)
    now = await _look(agent, request.id)
    if now is None:
        raise CommandError(Exit.REFUSED, "the other host has taken its request back; ask again")
    await with_device(agent, now)


async def _compare(peer: missiond.PeerInfo, code: str) -> None:
    print(f"{peer.label} ({peer.short_id}) and this host must both show the code   {code}", flush=True)
    print("Do they? [y/N] ", end="", flush=True)
    answer = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    accept = answer.strip().lower() in ("y", "yes")
    await peer.confirm(accept=accept)
    if not accept:
        raise CommandError(
            Exit.REFUSED, "not paired: if the codes differ, somebody is intercepting the connection"
        )


async def _look(agent: missiond.Agent, device_id: str) -> missiond.PeerInfo | None:
    return next((peer for peer in await agent.peers() if peer.id == device_id), None)


async def _settled(
    agent: missiond.Agent, device_id: str, changes: AsyncIterator[None]
) -> missiond.PeerInfo | None:
    """Wait for the people at the other host."""
    now = await _look(agent, device_id)
    if now is not None and now.state == "pairing":
        print("Waiting for the other host ...", flush=True)
    try:
        async with asyncio.timeout(PATIENCE):
            while now is not None and now.state == "pairing":
                await anext(changes)
                now = await _look(agent, device_id)
    except TimeoutError:
        return now
    return now
