# SPDX-License-Identifier: Apache-2.0
"""Live tasks as the agent's objects show them."""

from __future__ import annotations

from typing import Any, NamedTuple

from missiond.client import Client
from missiond.service.names import CONTINUOUS_TASK, MANAGER_PATH, TRANSIENT_TASK

_INTERFACE_OF = {"transient": TRANSIENT_TASK, "continuous": CONTINUOUS_TASK}


class LiveTask(NamedTuple):
    """One task and its D-Bus properties."""

    kind: str
    id: int
    properties: dict[str, Any]

    @property
    def name(self) -> str:
        """For example `transient/12`."""
        return f"{self.kind}/{self.id}"


async def live_tasks(agent: Client) -> list[LiveTask]:
    """Every user's, continuous ones first, by id."""
    found = []
    for path, interfaces in (await agent.objects()).items():
        kind, _, number = path.removeprefix(MANAGER_PATH + "/").partition("/")
        properties = interfaces.get(_INTERFACE_OF.get(kind, ""))
        if properties is not None:
            found.append(LiveTask(kind, int(number), properties))
    return sorted(found)


async def properties_of(agent: Client, kind: str, task_id: int) -> dict[str, Any]:
    """Read the properties of one task."""
    return await agent.properties(_INTERFACE_OF[kind], f"{MANAGER_PATH}/{kind}/{task_id}")
