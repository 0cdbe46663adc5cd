# SPDX-License-Identifier: Apache-2.0
"""missionctl missions."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from missiond.cli.devices import called, find
from missiond.cli.exits import Exit
from missiond.cli.table import columns, print_json, user
from missiond.client import Client
from missiond.client_missions import MissionInfo, Missions
from missiond.client_peers import Peer, Peers
from missiond.errors import AgentError, DistributedServiceFailed

_HEADER = ("MISSION", "USER", "PID", "APPLICATION", "STATE", "STARTED", "LABEL")
_HOST = "HOST"
_CLEAR = "\x1b[H\x1b[2J"
_CONNECTED = "connected"


class Found(NamedTuple):
    """A mission, and the peer that it is on; None is this host."""

    mission: MissionInfo
    peer: Peer | None = None


def main(arguments: argparse.Namespace) -> Exit:
    """List missions, once or again and again."""
    asyncio.run(_run(arguments))
    return Exit.OK


async def _run(arguments: argparse.Namespace) -> None:
    # polkit is asked about other users' and other hosts' only where the call lets it ask
    interactive = arguments.all or (arguments.on is not None and sys.stdin.isatty())
    async with Client(session=arguments.session, interactive=interactive) as agent:
        if arguments.on is not None:
            await _on(agent, find(await Peers(agent).known(), arguments.on), arguments)
            return
        missions = Missions(agent)
        if not arguments.watch:
            _show(await _here(agent, arguments), arguments)
            return
        async with missions.changes() as changes:
            _show(await _here(agent, arguments), arguments)
            async for _ in changes:
                _show(await _here(agent, arguments), arguments)


async def _here(agent: Client, arguments: argparse.Namespace) -> list[Found]:
    """List what is on this host, and with --all what is known of others without asking for it."""
    found = [Found(mission) for mission in await Missions(agent).infos()]
    if arguments.all:
        peers: list[Peer] = []
        with suppress(DistributedServiceFailed):
            peers = await Peers(agent).known()
        for peer in peers:
            if peer.state == _CONNECTED:
                with suppress(AgentError):
                    infos = await Missions(agent, peer.device_id).infos()
                    found += [Found(mission, peer) for mission in infos]
    return found


async def _on(agent: Client, peer: Peer, arguments: argparse.Namespace) -> None:
    """List what is on a peer. Its list is synchronised for as long as that takes, if it is not anyhow."""
    missions = Missions(agent, peer.device_id)
    try:
        found = await missions.infos()
        started = False
    except DistributedServiceFailed:
        await missions.start_sync()
        started = True
    try:
        if not arguments.watch:
            found = await missions.infos() if started else found
            _show([Found(mission, peer) for mission in found], arguments)
            return
        async with missions.changes() as changes:
            await _show_peer(missions, peer, arguments)
            async for _ in changes:
                await _show_peer(missions, peer, arguments)
    finally:
        if started:
            await missions.stop_sync()


async def _show_peer(missions: Missions, peer: Peer, arguments: argparse.Namespace) -> None:
    try:
        _show([Found(mission, peer) for mission in await missions.infos()], arguments)
    except DistributedServiceFailed as error:
        if arguments.json:
            print("null", flush=True)
        else:
            _print(f"No missions are known of {called(peer)}: {error.text}.", arguments)


def _show(found: list[Found], arguments: argparse.Namespace) -> None:
    if arguments.json and arguments.watch:
        print(json.dumps([_as_json(each) for each in found], ensure_ascii=False), flush=True)
    elif arguments.json:
        print_json([_as_json(each) for each in found])
    elif not found:
        _print("No missions.", arguments)
    elif arguments.all and any(each.peer is not None for each in found):
        header = (*_HEADER[:-1], _HOST, _HEADER[-1])
        _print(columns(header, [_as_row(each, with_host=True) for each in found]), arguments)
    else:
        _print(columns(_HEADER, [_as_row(each) for each in found]), arguments)


def _print(text: str, arguments: argparse.Namespace) -> None:
    clear = arguments.watch and sys.stdout.isatty()
    print((_CLEAR if clear else "") + text + ("\n" if arguments.watch and not clear else ""), flush=True)


def _as_json(found: Found) -> dict[str, Any]:
    mission = found.mission
    return {
        "mission": mission.mission_id,
        "label": mission.label,
        "icon": mission.icon,
        "application": mission.app_id,
        "pid": mission.pid,
        "uid": mission.uid,
        "state": mission.state,
        "locked": mission.locked,
        "continuable": mission.continuable,
        "tag": mission.tag,
        "started_us": mission.started,
        "device": "" if found.peer is None else found.peer.device_id,
    }


def _as_row(found: Found, *, with_host: bool = False) -> tuple[str, ...]:
    mission, peer = found
    started = datetime.fromtimestamp(mission.started / 1_000_000).astimezone()
    state = mission.state + (", locked" if mission.locked else "")
    # users of other hosts have other names
    owner = user(mission.uid) if peer is None else str(mission.uid)
    host = ("-" if peer is None else called(peer),) if with_host else ()
    return (
        str(mission.mission_id), owner, str(mission.pid), mission.app_id, state,
        started.strftime("%Y-%m-%d %H:%M:%S"), *host, mission.label,
    )  # fmt: skip
