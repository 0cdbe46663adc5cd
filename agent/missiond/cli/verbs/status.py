# SPDX-License-Identifier: Apache-2.0
"""missionctl status."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import missiond
from missiond.cli.agent import connected
from missiond.cli.exit_codes import Exit
from missiond.cli.output import print_json, safe


def main(arguments: argparse.Namespace) -> Exit:
    """Show the agent and the host's power."""
    status = asyncio.run(_read(arguments))
    if arguments.json:
        print_json(_as_json(status))
    else:
        print(_as_text(status))
    return Exit.OK


async def _read(arguments: argparse.Namespace) -> missiond.AgentStatus:
    async with connected(arguments, asks=False) as agent:
        return await agent.status()


def _as_json(status: missiond.AgentStatus) -> dict[str, Any]:
    battery = status.battery
    return {
        "version": status.version,
        "degraded": status.degraded,
        "battery": {
            "present": battery.present,
            "percent": battery.percent,
            "on_external_power": battery.on_external_power,
            "low": battery.low,
            "critical": battery.critical,
        },
        "transient_tasks": status.transient_tasks,
        "continuous_tasks": status.continuous_tasks,
        "suspended_tasks": status.suspended_tasks,
        "locks_held": status.locks_held,
    }


def _as_text(status: missiond.AgentStatus) -> str:
    tasks = f"{status.transient_tasks} transient, {status.continuous_tasks} continuous"
    if status.suspended_tasks:
        tasks += f" ({status.suspended_tasks} suspended)"
    lines = [
        f"missiond {status.version}",
        f"  Battery:  {_text_of(status.battery)}",
        f"  Tasks:    {tasks}",
        f"  Locks:    {status.locks_held} held",
    ]
    missing = [safe(sentence) for sentence in status.degraded] or ["no"]
    lines.append(f"  Degraded: {missing[0]}")
    lines.extend(f"            {sentence}" for sentence in missing[1:])
    return "\n".join(lines)


def _text_of(battery: missiond.BatteryStatus) -> str:
    if not battery.present:
        return "none"
    charge = "unknown charge" if battery.percent is None else f"{battery.percent:.0f} %"
    source = "on external power" if battery.on_external_power else "on battery"
    level = ", critical" if battery.critical else ", low" if battery.low else ""
    return f"{charge}, {source}{level}"
