# SPDX-License-Identifier: Apache-2.0
"""What a client gets from the agent, and options that it gives. Times are milliseconds."""

from __future__ import annotations

from typing import Any, NamedTuple, TypedDict


class SuspendDelay(NamedTuple):
    """A granted request: its id and the ms granted."""

    request_id: int
    actual_delay_time: int


class TransientTaskInfo(NamedTuple):
    """Ms of quota left to this application, and (id, remaining ms) of its live requests."""

    remaining_quota: int
    transient_tasks: list[tuple[int, int]]


class Task(NamedTuple):
    """A started continuous task; `notification_id` is -1 where no notification is shown."""

    slot_type: int
    content_type: int
    notification_id: int
    continuous_task_id: int


class TaskOptions(TypedDict, total=False):
    """Options of a continuous task; `keep_alive` is protect (default), restart or none."""

    context: str
    pid: int
    keep_alive: str
    title: str
    text: str
    want_agent: dict[str, Any]
