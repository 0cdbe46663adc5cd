# SPDX-License-Identifier: Apache-2.0
"""missionctl snapshot."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from missiond.cli.exits import Exit
from missiond.cli.table import print_json
from missiond.client import Client
from missiond.client_missions import Missions

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def main(arguments: argparse.Namespace) -> Exit:
    """Show what a mission uses."""
    values = asyncio.run(_read(arguments.mission, session=arguments.session))
    if arguments.json:
        print_json(_as_json(arguments.mission, values))
    else:
        print(_as_text(values))
    return Exit.OK


async def _read(mission: int, *, session: bool) -> dict[str, Any]:
    async with Client(session=session) as agent:
        return await Missions(agent).snapshot(mission)


def _as_json(mission: int, values: dict[str, Any]) -> dict[str, Any]:
    return {
        "mission": mission,
        "taken_us": values["taken"],
        "cpu_percent": values["cpu"],
        "memory_bytes": values["memory"],
        "threads": values["threads"],
        "children": values["children"],
        "state": values["state"],
        "read_bytes": values.get("read-bytes"),
        "write_bytes": values.get("write-bytes"),
    }


def _as_text(values: dict[str, Any]) -> str:
    lines = [
        f"State:      {values['state']}",
        f"Processor:  {values['cpu']:.1f} %",
        f"Memory:     {size(values['memory'])}",
        f"Processes:  {values['children'] + 1}, {values['threads']} threads",
    ]
    if "read-bytes" in values:
        lines.append(f"Disk:       {size(values['read-bytes'])} read, {size(values['write-bytes'])} written")
    return "\n".join(lines)


def size(count: float) -> str:
    """For example `4.2 MiB`."""
    unit = 0
    while count >= 1024 and unit < len(_UNITS) - 1:
        count /= 1024
        unit += 1
    return f"{count:.0f} {_UNITS[unit]}" if unit == 0 else f"{count:.1f} {_UNITS[unit]}"
