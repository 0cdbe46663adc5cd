# SPDX-License-Identifier: Apache-2.0
"""missionctl missions."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from contextlib import suppress
from typing import Any, NamedTuple

import missiond
from missiond.cli.agent import connected
from missiond.cli.devices import known_as
from missiond.cli.exit_codes import Exit
from missiond.cli.output import columns, json_text, microseconds, user

_HEADER = ("MISSION", "USER", "PID", "APPLICATION", "STATE", "STARTED", "LABEL")
_HOST = "HOST"
_CLEAR = "\x1b[H\x1b[2J"
_CONNECTED = "connected"
_OF_OTHERS = "org.missiond.Agent1.manage-others"


class Found(NamedTuple):
    """Mission and peer; None is this host."""

    mission: missiond.MissionInfo
    peer: missiond.PeerInfo | None = None


def main(arguments: argparse.Namespace) -> Exit:
    """List missions, once or again and again."""
    asyncio.run(_run(arguments))
    return Exit.OK


async def _run(arguments: argparse.Namespace) -> None:
    # polkit is asked about other users' and other hosts' only where the call lets it ask
    async with connected(
        arguments,
        asks=arguments.all or arguments.on is not None,
        ask_first=_OF_OTHERS if arguments.all else None,
    ) as agent:
        if arguments.on is not None:
            await _on(await known_as(agent, arguments.on), arguments)
            return
        if not arguments.watch:
            print(_text(await _here(agent, arguments), arguments))
            return
        screen = _Screen(json=arguments.json)
        async with agent.missions.changes() as changes:
            screen.show(_text(await _here(agent, arguments), arguments))
            async for _ in changes:
                screen.show(_text(await _here(agent, arguments), arguments))


async def _here(agent: missiond.Agent, arguments: argparse.Namespace) -> list[Found]:
    """List what is on this host, and with --all what is known of others without asking for it."""
    found = [Found(mission) for mission in await agent.missions()]
    if arguments.all:
        peers: list[missiond.PeerInfo] = []
        with suppress(missiond.Failed):
            peers = await agent.peers()
        for peer in peers:
            if peer.state == _CONNECTED:
                with suppress(missiond.AgentError):
                    found += [Found(mission, peer) for mission in await peer.missions.known()]
    return found


async def _on(peer: missiond.PeerInfo, arguments: argparse.Namespace) -> None:
    """List what is on a peer."""
    if not arguments.watch:
        found = await peer.missions()
        print(_text([Found(mission, peer) for mission in found], arguments))
        return
    screen = _Screen(json=arguments.json)
    async with peer.missions.synchronised(), peer.missions.changes() as changes:
        screen.show(await _text_of_peer(peer, arguments))
        async for _ in changes:
            screen.show(await _text_of_peer(peer, arguments))


async def _text_of_peer(peer: missiond.PeerInfo, arguments: argparse.Namespace) -> str:
    try:
        return _text([Found(mission, peer) for mission in await peer.missions.known()], arguments)
    except missiond.Failed as error:
        if arguments.json:
            return "null"
        return f"No missions are known of {peer.label}: {error.text}."


def _text(found: list[Found], arguments: argparse.Namespace) -> str:
    if arguments.json:
        return json_text([_as_json(each) for each in found], indent=None if arguments.watch else 2)
    if not found:
        if arguments.on is not None or arguments.all or os.getuid() == 0:
            return "No missions."
        return "No missions of yours; of others: --all"
    if arguments.all and any(each.peer is not None for each in found):
        header = (*_HEADER[:-1], _HOST, _HEADER[-1])
        return columns(header, [_as_row(each, with_host=True) for each in found])
    return columns(_HEADER, [_as_row(each) for each in found])


class _Screen:
    """Where one list follows another; the same list is not shown again, whatever else has changed."""

    def __init__(self, *, json: bool) -> None:
        self._json = json
        self._last: str | None = None

    def show(self, text: str) -> None:
        """Show it in place of the last one."""
        if text == self._last:
            return
        self._last = text
        if self._json:
            print(text, flush=True)
        elif sys.stdout.isatty():
            print(_CLEAR + text, flush=True)
        else:
            print(text + "\n", flush=True)


def _as_json(found: Found) -> dict[str, Any]:
    mission = found.mission
    return {
        "mission": mission.id,
        "label": mission.label,
        "icon": mission.icon,
        "application": mission.application,
        "pid": mission.pid,
        "uid": mission.uid,
        "state": mission.state,
        "locked": mission.locked,
        "continuable": mission.continuable,
        "tag": mission.tag,
        "started_us": microseconds(mission.started),
        "device": mission.device,
    }


def _as_row(found: Found, *, with_host: bool = False) -> tuple[str, ...]:
    mission, peer = found
    state = mission.state + (", locked" if mission.locked else "")
    # users of other hosts have other names
    owner = user(mission.uid) if peer is None else str(mission.uid)
    host = ("-" if peer is None else peer.label,) if with_host else ()
    return (
        str(mission.id), owner, str(mission.pid), mission.application, state,
        mission.started.astimezone().strftime("%Y-%m-%d %H:%M:%S"), *host, mission.label,
    )  # fmt: skip
