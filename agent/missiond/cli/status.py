# SPDX-License-Identifier: Apache-2.0
"""missionctl status."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from missiond.cli.exits import Exit
from missiond.cli.table import print_json, safe
from missiond.client import Client


def main(arguments: argparse.Namespace) -> Exit:
    """Show the agent and the host's power."""
    manager = asyncio.run(_read(session=arguments.session))
    if arguments.json:
        print_json(_as_json(manager))
    else:
        print(_as_text(manager))
    return Exit.OK


async def _read(*, session: bool) -> dict[str, Any]:
    async with Client(session=session) as agent:
        return await agent.properties()


def _as_json(manager: dict[str, Any]) -> dict[str, Any]:
    percent = manager["BatteryPercent"]
    return {
        "version": manager["Version"],
        "degraded": manager["Degraded"],
        "battery": {
            "present": manager["BatteryPresent"],
            "percent": None if percent < 0 else percent,
            "on_external_power": manager["OnExternalPower"],
            "low": manager["LowBattery"],
        },
        "transient_tasks": manager["TransientTasks"],
        "continuous_tasks": manager["ContinuousTasks"],
        "locks_held": manager["LocksHeld"],
    }


def _as_text(manager: dict[str, Any]) -> str:
    tasks = f"{manager['TransientTasks']} transient, {manager['ContinuousTasks']} continuous"
    lines = [
        f"missiond {manager['Version']}",
        f"  Battery:  {_battery(manager)}",
        f"  Tasks:    {tasks}",
        f"  Locks:    {manager['LocksHeld']} held",
    ]
    missing = [safe(sentence) for sentence in manager["Degraded"]] or ["no"]
    lines.append(f"  Degraded: {missing[0]}")
    lines.extend(f"            {sentence}" for sentence in missing[1:])
    return "\n".join(lines)


def _battery(manager: dict[str, Any]) -> str:
    if not manager["BatteryPresent"]:
        return "none"
    percent = manager["BatteryPercent"]
    charge = "unknown charge" if percent < 0 else f"{percent:.0f} %"
    source = "on external power" if manager["OnExternalPower"] else "on battery"
    return f"{charge}, {source}" + (", low" if manager["LowBattery"] else "")
