# SPDX-License-Identifier: Apache-2.0
"""missionctl peers."""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable

from missiond.cli import pairing
from missiond.cli.devices import SHOWN, find, whole_id
from missiond.cli.exits import CommandError, Exit
from missiond.cli.table import columns, print_json
from missiond.client import Client
from missiond.client_peers import Peer, Peers

UNIT = "missiond-peers.service"
_HEADER = ("DEVICE", "STATE", "MAY", "NAME", "ADDRESSES")
_PATIENCE = 25.0
"""Seconds for the agent to hear that the unit is there."""


def main(arguments: argparse.Namespace) -> Exit:
    """Do one thing about peers."""
    if arguments.action in ("enable", "disable"):
        _switch(arguments)
    asyncio.run(_run(arguments))
    return Exit.OK


def _switch(arguments: argparse.Namespace) -> None:
    """Turn the peer unit on or off, for good, by systemd's own means, which ask whoever has to be asked."""
    if arguments.session:
        raise CommandError(Exit.USAGE, "peers are of the system's agent; leave --session out")
    try:
        command = ["systemctl", arguments.action, "--now", UNIT]
        done = subprocess.run(command, check=False)  # noqa: S603 (found as the shell finds it)
    except OSError as error:
        raise CommandError(Exit.FAILURE, f"systemctl cannot be run: {error.strerror}") from error
    if done.returncode:
        raise CommandError(Exit.FAILURE, f"systemctl did not {arguments.action} {UNIT}; see above")


async def _run(arguments: argparse.Namespace) -> None:
    # whoever only looks is never asked for a password
    changes = arguments.action in ("pair", "trust", "unpair", "allow")
    async with Client(session=arguments.session, interactive=changes and sys.stdin.isatty()) as agent:
        await _ACTIONS[arguments.action](Peers(agent), arguments)


async def _list(peers: Peers, arguments: argparse.Namespace) -> None:
    found = await peers.known()
    if arguments.json:
        print_json([peer._asdict() for peer in found])
    else:
        print(columns(_HEADER, [_as_row(peer) for peer in found]) if found else "No peers.")


def _as_row(peer: Peer) -> tuple[str, ...]:
    may = ",".join(peer.permissions) or "-"
    return peer.device_id[:SHOWN], peer.state, may, peer.name or "-", " ".join(peer.addresses) or "-"


async def _id(peers: Peers, _arguments: argparse.Namespace) -> None:
    device = await peers.local()
    if not device.enabled:
        await peers.known()  # says why not
    print(device.device_id)


async def _enabled(peers: Peers, _arguments: argparse.Namespace) -> None:
    """Wait until the agent knows of it, and show who this host is."""
    try:
        async with asyncio.timeout(_PATIENCE), peers.changes() as changes:
            device = await peers.local()
            while not device.enabled:
                await anext(changes)
                device = await peers.local()
    except TimeoutError:
        raise CommandError(Exit.FAILURE, f"{UNIT} does not get ready; see `journalctl -u {UNIT}`") from None
    print(f"This host is {device.device_id}.")


async def _disabled(_peers: Peers, _arguments: argparse.Namespace) -> None:
    """All was done by systemctl."""


async def _trust(peers: Peers, arguments: argparse.Namespace) -> None:
    word, *permissions = arguments.words
    device = word if whole_id(word) else find(await peers.known(), word).device_id
    chosen = _chosen(permissions) if permissions else None
    await peers.trust(device, name=arguments.name, address=arguments.address, permissions=chosen)


async def _unpair(peers: Peers, arguments: argparse.Namespace) -> None:
    await peers.unpair(find(await peers.known(), arguments.words[0]).device_id)


async def _allow(peers: Peers, arguments: argparse.Namespace) -> None:
    word, *permissions = arguments.words
    await peers.set_permissions(find(await peers.known(), word).device_id, _chosen(permissions))


def _chosen(permissions: list[str]) -> list[str]:
    return [each for each in permissions if each != "none"]


async def _pair(peers: Peers, arguments: argparse.Namespace) -> None:
    if arguments.words:
        await pairing.with_device(peers, find(await peers.known(), arguments.words[0]))
    else:
        await pairing.with_whoever_asks(peers)


_ACTIONS: dict[str, Callable[[Peers, argparse.Namespace], Awaitable[None]]] = {
    "list": _list,
    "id": _id,
    "enable": _enabled,
    "disable": _disabled,
    "pair": _pair,
    "trust": _trust,
    "unpair": _unpair,
    "allow": _allow,
}
