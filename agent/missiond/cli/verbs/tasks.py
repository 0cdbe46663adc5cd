# SPDX-License-Identifier: Apache-2.0
"""missionctl tasks."""

from __future__ import annotations

import argparse
import asyncio
import os
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import missiond
from missiond.cli.agent import connected
from missiond.cli.exit_codes import Exit
from missiond.cli.output import columns, microseconds, milliseconds, print_json, span, user

_WHY_SUSPENDED = {missiond.SuspendReason.BATTERY_CRITICAL: "battery critical"}
_HEADER = ("TASK", "USER", "PID", "APPLICATION", "SINCE", "LOCK", "LEFT", "WHY")

Live = missiond.TaskInfo | missiond.DelayInfo


def main(arguments: argparse.Namespace) -> Exit:
    """List live tasks: the user's own, for root and with --all everybody's."""
    everybody = found = asyncio.run(_read(arguments))
    uid = os.getuid()
    if uid != 0 and not arguments.all:
        found = [task for task in found if task.uid == uid]
    if arguments.json:
        print_json([_as_json(task) for task in found])
    elif found:
        print(columns(_HEADER, [_as_row(task) for task in found]))
    elif everybody:
        print(f"No tasks of yours; {len(everybody)} of others: --all")
    else:
        print("No tasks.")
    return Exit.OK


async def _read(arguments: argparse.Namespace) -> list[Live]:
    async with connected(arguments, asks=False) as agent:
        return await agent.tasks()


def _as_json(task: Live) -> dict[str, Any]:
    common = {
        "task": task.name,
        "kind": task.kind,
        "id": task.id,
        "application": task.application,
        "uid": task.uid,
        "pid": task.pid,
        "lock": task.lock,
        "locked": task.locked,
        "started_us": microseconds(task.started),
        "deadline_us": microseconds(task.ends),
    }
    if isinstance(task, missiond.DelayInfo):
        return common | {
            "reason": task.reason,
            "granted_ms": milliseconds(task.granted),
            "remaining_ms": milliseconds(task.remaining),
        }
    return common | {
        "modes": _names(task),
        "context": task.context,
        "title": task.title,
        "text": task.text,
        "inhibit": task.inhibit,
        "missing": task.missing,
        "check": task.check,
        "keep_alive": task.keep_alive,
        "suspended": task.suspended,
        "suspend_reason": int(task.suspend_reason),
        "notification_id": task.notification_id,
        "progress": asdict(task.progress),
    }


def _as_row(task: Live) -> tuple[str, ...]:
    lock = task.lock if task.locked else f"({task.lock}: not held)"
    if isinstance(task, missiond.DelayInfo):
        left, why = span(milliseconds(task.remaining)), task.reason
    else:
        left, why = _left(task.ends), _doing(task)
    return (
        task.name, user(task.uid), str(task.pid), task.application, _clock(task.started), lock, left, why,
    )  # fmt: skip


def _names(task: missiond.TaskInfo) -> list[str]:
    return [mode.item if isinstance(mode, missiond.Mode) else mode for mode in task.modes]


def _clock(when: datetime | None) -> str:
    """Today's time of day, or the day as well."""
    if when is None:
        return "-"
    then = when.astimezone()
    today = then.date() == datetime.now().astimezone().date()
    return then.strftime("%H:%M" if today else "%Y-%m-%d %H:%M")


def _left(ends: datetime | None) -> str:
    """How long until then; `-` without an end."""
    if ends is None:
        return "-"
    return span(max(0, milliseconds((ends - datetime.now(UTC)).total_seconds())))


def _doing(task: missiond.TaskInfo) -> str:
    doing = ", ".join(_names(task)) + (f": {task.title}" if task.title else "")
    if missiond.Mode.DATA_TRANSFER in task.modes and task.progress.value:
        doing += f" ({task.progress.value} %)"
    if task.missing:
        doing += f" [missing: {', '.join(task.missing)}]"
    return doing + (f" [{_suspended(task.suspend_reason)}]" if task.suspended else "")


def _suspended(reason: missiond.SuspendReason | int) -> str:
    """Return the reason of a suspension; a number for one of a newer agent."""
    known = _WHY_SUSPENDED.get(reason) if isinstance(reason, missiond.SuspendReason) else None
    return f"suspended: {known or f'reason {reason}'}"
