# SPDX-License-Identifier: Apache-2.0
"""missionctl snapshot."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import missiond
from missiond.cli.agent import connected
from missiond.cli.exit_codes import Exit
from missiond.cli.output import microseconds, print_json

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def main(arguments: argparse.Namespace) -> Exit:
    """Show the resource usage of a mission."""
    usage = asyncio.run(_read(arguments))
    if arguments.json:
        print_json(_as_json(arguments.mission, usage))
    else:
        print(_as_text(usage))
    return Exit.OK


async def _read(arguments: argparse.Namespace) -> missiond.MissionUsage:
    async with connected(arguments) as agent:
        return await agent.missions.snapshot(arguments.mission)


def _as_json(mission: int, usage: missiond.MissionUsage) -> dict[str, Any]:
    return {
        "mission": mission,
        "taken_us": microseconds(usage.taken),
        "cpu_percent": usage.cpu,
        "memory_bytes": usage.memory,
        "threads": usage.threads,
        "children": usage.children,
        "state": usage.state,
        "read_bytes": usage.read_bytes,
        "write_bytes": usage.written_bytes,
    }


def _as_text(usage: missiond.MissionUsage) -> str:
    lines = [
        f"State:      {usage.state}",
        f"Processor:  {usage.cpu:.1f} %",
        f"Memory:     {size(usage.memory)}",
        f"Processes:  {usage.children + 1}, {usage.threads} threads",
    ]
    if usage.read_bytes is not None and usage.written_bytes is not None:
        lines.append(f"Disk:       {size(usage.read_bytes)} read, {size(usage.written_bytes)} written")
    return "\n".join(lines)


def size(count: float) -> str:
    """For example `4.2 MiB`."""
    unit = 0
    while count >= 1024 and unit < len(_UNITS) - 1:
        count /= 1024
        unit += 1
    return f"{count:.0f} {_UNITS[unit]}" if unit == 0 else f"{count:.1f} {_UNITS[unit]}"
