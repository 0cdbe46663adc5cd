# SPDX-License-Identifier: Apache-2.0
"""missionctl peers."""

from __future__ import annotations

import argparse
import asyncio
import subprocess
from collections.abc import Awaitable, Callable

import missiond
from missiond.cli.agent import connected
from missiond.cli.devices import known_as
from missiond.cli.exit_codes import CommandError, Exit
from missiond.cli.output import columns, print_json, safe
from missiond.cli.parser.peers import PERMISSIONS
from missiond.cli.verbs import pair as pairing

UNIT = "missiond-peers.service"
_HEADER = ("DEVICE", "STATE", "MAY", "NAME", "ADDRESSES")
_REASON = "REASON"
"""A column where there is something to say."""
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
        command = ["systemctl", "--quiet", arguments.action, "--now", UNIT]
        done = subprocess.run(command, check=False)  # noqa: S603 (found as the shell finds it)
    except OSError as error:
        raise CommandError(Exit.FAILURE, f"systemctl cannot be run: {error.strerror}") from error
    if done.returncode:
        raise CommandError(Exit.FAILURE, f"systemctl did not {arguments.action} {UNIT}; see above")


async def _run(arguments: argparse.Namespace) -> None:
    # whoever only looks is never asked for a password
    changes = arguments.action in ("pair", "trust", "unpair", "allow", "disallow")
    async with connected(arguments, asks=changes) as agent:
        await _ACTIONS[arguments.action](agent, arguments)


async def _list(agent: missiond.Agent, arguments: argparse.Namespace) -> None:
    found = await agent.peers()
    reasons = [(await peer.details()).reason if peer.paired else "" for peer in found]
    if arguments.json:
        rows = zip(found, reasons, strict=True)
        print_json([_as_json(peer) | {"reason": reason} for peer, reason in rows])
    elif not any(reasons):
        none = "No peers; next: `missionctl peers pair`"
        print(columns(_HEADER, [_as_row(peer) for peer in found]) if found else none)
    else:
        rows = zip(found, reasons, strict=True)
        print(columns((*_HEADER, _REASON), [(*_as_row(peer), safe(reason) or "-") for peer, reason in rows]))


def _as_json(peer: missiond.PeerInfo) -> dict[str, object]:
    return {
        "device_id": peer.id,
        "name": peer.name,
        "state": peer.state,
        "addresses": peer.addresses,
        "permissions": peer.permissions,
    }


def _as_row(peer: missiond.PeerInfo) -> tuple[str, ...]:
    may = ",".join(peer.permissions) or "-"
    name = peer.label if peer.name else "-"
    return peer.short_id, peer.state, may, name, " ".join(peer.addresses) or "-"


async def _id(agent: missiond.Agent, _arguments: argparse.Namespace) -> None:
    device = await agent.this_device()
    if not device.enabled:
        await agent.peers()  # says why not
    print(device.id)


async def _enabled(agent: missiond.Agent, _arguments: argparse.Namespace) -> None:
    """Wait until the agent knows of it, and show who this host is."""
    try:
        async with asyncio.timeout(_PATIENCE), agent.peers.changes() as changes:
            device = await agent.this_device()
            while not device.enabled:
                await anext(changes)
                device = await agent.this_device()
    except TimeoutError:
        raise CommandError(Exit.FAILURE, f"{UNIT} does not get ready; see `journalctl -u {UNIT}`") from None
    print(f"This host is {device.id}.")
    print("Next: `missionctl peers pair` on one host, and `missionctl peers pair HOST` on the other.")


async def _disabled(_agent: missiond.Agent, _arguments: argparse.Namespace) -> None:
    """All was done by systemctl."""


async def _trust(agent: missiond.Agent, arguments: argparse.Namespace) -> None:
    word, *permissions = arguments.words
    device = word if agent.peers.is_id(word) else _paired(await known_as(agent, word))
    chosen = _chosen(permissions) if permissions else None
    await agent.peers.trust(device, name=arguments.name, address=arguments.address, permissions=chosen)


def _paired(peer: missiond.PeerInfo) -> str:
    """Return the id of a paired host; raises CommandError for others, whose names anybody may have said."""
    if not peer.paired:
        text = "is not paired: name it by its whole id, as `missionctl peers id` shows it there"
        raise CommandError(Exit.USAGE, f"{peer.label} {text}; or `missionctl peers pair {peer.short_id}`")
    return peer.id


async def _unpair(agent: missiond.Agent, arguments: argparse.Namespace) -> None:
    await (await known_as(agent, arguments.words[0])).unpair()


async def _allow(agent: missiond.Agent, arguments: argparse.Namespace) -> None:
    word, *permissions = arguments.words
    peer = await known_as(agent, word)
    chosen = _chosen(permissions)
    await _permit(peer, [*peer.permissions, *chosen] if chosen else [])


async def _disallow(agent: missiond.Agent, arguments: argparse.Namespace) -> None:
    word, *permissions = arguments.words
    peer = await known_as(agent, word)
    await _permit(peer, [each for each in peer.permissions if each not in permissions])


async def _permit(peer: missiond.PeerInfo, permissions: list[str]) -> None:
    """Let it do exactly this, and say so."""
    now = [each for each in PERMISSIONS if each in permissions and each != "none"]
    await peer.permit(now)
    print(f"{peer.label} may now: {', '.join(now) or 'nothing'}")


def _chosen(permissions: list[str]) -> list[str]:
    return [each for each in permissions if each != "none"]


async def _pair(agent: missiond.Agent, arguments: argparse.Namespace) -> None:
    if arguments.words:
        peer = await known_as(agent, arguments.words[0])
        _check_id(await agent.peers(), peer)
        await pairing.with_device(agent, peer)
    else:
        await pairing.with_whoever_asks(agent)


def _check_id(known: list[missiond.PeerInfo], peer: missiond.PeerInfo) -> None:
    """Tell where a paired host is away, and what may be a new id of it is there."""
    others = [each for each in known if each.name == peer.name and each.state == "discovered"]
    if peer.state == "offline" and peer.name and others:
        new, old = others[0].short_id, peer.short_id
        raise CommandError(
            Exit.REFUSED,
            f"{peer.label} is paired and offline, and another host is called so; if it was installed anew, "
            f"it has a new id: missionctl peers pair {new}, then missionctl peers unpair {old}",
        )


_ACTIONS: dict[str, Callable[[missiond.Agent, argparse.Namespace], Awaitable[None]]] = {
    "list": _list,
    "id": _id,
    "enable": _enabled,
    "disable": _disabled,
    "pair": _pair,
    "trust": _trust,
    "unpair": _unpair,
    "allow": _allow,
    "disallow": _disallow,
}
