# SPDX-License-Identifier: Apache-2.0
"""missionctl missions."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from datetime import datetime
from typing import Any

from missiond.cli.exits import Exit
from missiond.cli.table import columns, print_json, user
from missiond.client import Client
from missiond.client_missions import MissionInfo, Missions

_HEADER = ("MISSION", "USER", "PID", "APPLICATION", "STATE", "STARTED", "LABEL")
_CLEAR = "\x1b[H\x1b[2J"


def main(arguments: argparse.Namespace) -> Exit:
    """List missions, once or again and again."""
    asyncio.run(_run(arguments))
    return Exit.OK


async def _run(arguments: argparse.Namespace) -> None:
    # polkit is asked about other users' only where the call lets it ask
    async with Client(session=arguments.session, interactive=arguments.all) as agent:
        missions = Missions(agent)
        if not arguments.watch:
            _show(await missions.infos(), arguments)
            return
        async with missions.changes() as changes:
            _show(await missions.infos(), arguments)
            async for _ in changes:
                _show(await missions.infos(), arguments)


def _show(found: list[MissionInfo], arguments: argparse.Namespace) -> None:
    if arguments.json and arguments.watch:
        print(json.dumps([_as_json(mission) for mission in found], ensure_ascii=False), flush=True)
    elif arguments.json:
        print_json([_as_json(mission) for mission in found])
    else:
        text = columns(_HEADER, [_as_row(mission) for mission in found]) if found else "No missions."
        clear = arguments.watch and sys.stdout.isatty()
        print((_CLEAR if clear else "") + text + ("\n" if arguments.watch and not clear else ""), flush=True)


def _as_json(mission: MissionInfo) -> dict[str, Any]:
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
    }


def _as_row(mission: MissionInfo) -> tuple[str, ...]:
    started = datetime.fromtimestamp(mission.started / 1_000_000).astimezone()
    state = mission.state + (", locked" if mission.locked else "")
    return (
        str(mission.mission_id), user(mission.uid), str(mission.pid), mission.app_id, state,
        started.strftime("%Y-%m-%d %H:%M:%S"), mission.label,
    )  # fmt: skip
