# SPDX-License-Identifier: Apache-2.0
"""missionctl tasks."""

from __future__ import annotations

import argparse
import asyncio
import os
from typing import Any

from missiond.cli.exits import Exit
from missiond.cli.live import LiveTask, live_tasks
from missiond.cli.table import columns, print_json, span, user
from missiond.client import Client

_HEADER = ("TASK", "USER", "PID", "APPLICATION", "LOCK", "LEFT", "WHY")


def main(arguments: argparse.Namespace) -> Exit:
    """List live tasks: the user's own, for root and with --all everybody's."""
    found = asyncio.run(_read(session=arguments.session))
    uid = os.getuid()
    if uid != 0 and not arguments.all:
        found = [task for task in found if task.properties["Uid"] == uid]
    if arguments.json:
        print_json([_as_json(task) for task in found])
    elif found:
        print(columns(_HEADER, [_as_row(task) for task in found]))
    else:
        print("No tasks.")
    return Exit.OK


async def _read(*, session: bool) -> list[LiveTask]:
    async with Client(session=session) as agent:
        return await live_tasks(agent)


def _as_json(task: LiveTask) -> dict[str, Any]:
    values = task.properties
    common = {
        "task": task.name,
        "kind": task.kind,
        "id": task.id,
        "application": values["AppId"],
        "uid": values["Uid"],
        "pid": values["Pid"],
        "lock": values["What"],
        "locked": values["Locked"],
    }
    if task.kind == "transient":
        return common | {
            "reason": values["Reason"],
            "granted_ms": values["ActualDelayTime"],
            "remaining_ms": values["Remaining"],
        }
    return common | {
        "modes": values["BgModes"],
        "context": values["Context"],
        "title": values["Title"],
        "keep_alive": values["KeepAlive"],
        "suspended": values["Suspended"],
        "notification_id": values["NotificationId"],
        "progress": {key.replace("-", "_"): value for key, value in values["Progress"].items()},
    }


def _as_row(task: LiveTask) -> tuple[str, ...]:
    values = task.properties
    lock = values["What"] if values["Locked"] else f"({values['What']}: not held)"
    if task.kind == "transient":
        left, why = span(values["Remaining"]), values["Reason"]
    else:
        left, why = "-", _doing(values)
    return (task.name, user(values["Uid"]), str(values["Pid"]), values["AppId"], lock, left, why)


def _doing(values: dict[str, Any]) -> str:
    doing = ", ".join(values["BgModes"]) + (f": {values['Title']}" if values["Title"] else "")
    if "dataTransfer" in values["BgModes"] and values["Progress"].get("value"):
        doing += f" ({values['Progress']['value']} %)"
    return doing + (" [suspended]" if values["Suspended"] else "")
