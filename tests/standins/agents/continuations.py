# SPDX-License-Identifier: Apache-2.0
"""What the stand-in of the agent has about missions that go on elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from missiond import bus_names
from missiond.bus.interface import Call, Interface
from missiond.bus.introspection import InterfaceSpec
from missiond.bus.server import Server
from missiond.bus.variants import unwrap, variant
from standins.agents.peer_unit import A

_METHODS = {
    "ContinueMission": ("ssua{sv}", "u"),
    "ContinueApplication": ("sssa{sv}", "u"),
    "ListContinuations": ("", "aa{sv}"),
    "ReclaimContinuation": ("s", ""),
    "DropContinuation": ("s", ""),
}
_SIGNALS = {"ContinueProgress": "ustts", "ContinueDone": "ui"}
_TYPES = {
    "transfer": "s",
    "continuation-id": "u",
    "role": "s",
    "device-id": "s",
    "mission-id": "u",
    "app-id": "s",
    "label": "s",
    "phase": "s",
    "size": "t",
    "in-doubt": "b",
    "can-reclaim": "b",
    "reason": "s",
}
ROW: dict[str, Any] = {
    "transfer": "ab" * 16,
    "continuation-id": 4,
    "role": "source",
    "device-id": A,
    "mission-id": 7,
    "app-id": "org.example.Counter",
    "label": "Counter\x1b",
    "phase": "committed",
    "size": 5000,
    "in-doubt": True,
    "can-reclaim": True,
    "reason": "laptop is not connected",
}
SENDING = ("sending", 1 << 20, 4 << 20, "")
DONE = [("offered", 0, 0, ""), SENDING, ("sending", 2 << 20, 4 << 20, ""), ("started", 0, 0, "")]


def with_continuations(specs: Mapping[str, InterfaceSpec]) -> dict[str, InterfaceSpec]:
    """Add what the contract has."""
    spec = specs[bus_names.DISTRIBUTED_MISSION_MANAGER]
    spec = replace(spec, methods={**_METHODS, **spec.methods}, signals={**_SIGNALS, **spec.signals})
    return {**specs, spec.name: spec}


class ContinuationsStandIn(Interface):
    """Tells at once of `progress` and `result`; with result None it never ends."""

    def __init__(self, note: Callable[..., None], server: Server) -> None:
        self._told = note
        self._bus = server
        self.progress: list[tuple[str, int, int, str]] = list(DONE)
        self.result: int | None = 0
        self.rows: list[dict[str, Any]] = []

    def continue_mission(
        self, call: Call, src: str, dst: str, mission_id: int, want_param: dict[str, Any]
    ) -> int:
        self._told("ContinueMission", src, dst, mission_id, unwrap(want_param))
        return self._begin(call)

    def continue_application(
        self, call: Call, src: str, dst: str, app_id: str, want_param: dict[str, Any]
    ) -> int:
        self._told("ContinueApplication", src, dst, app_id, unwrap(want_param))
        return self._begin(call)

    def list_continuations(self, _call: Call) -> list[dict[str, Any]]:
        self._told("ListContinuations")
        return [{key: variant(_TYPES[key], value) for key, value in row.items()} for row in self.rows]

    def reclaim_continuation(self, _call: Call, transfer: str) -> None:
        self._told("ReclaimContinuation", transfer)

    def drop_continuation(self, _call: Call, transfer: str) -> None:
        self._told("DropContinuation", transfer)

    def _begin(self, call: Call) -> int:
        """Have somebody else's news, then the caller's own."""
        self._say(call, "ContinueDone", 8, 16300501)
        for progress in self.progress:
            self._say(call, "ContinueProgress", 9, *progress)
        if self.result is not None:
            self._say(call, "ContinueDone", 9, self.result)
        return 9

    def _say(self, call: Call, member: str, *arguments: Any) -> None:
        self._bus.emit(
            bus_names.MANAGER_PATH,
            bus_names.DISTRIBUTED_MISSION_MANAGER,
            member,
            *arguments,
            destination=call.sender,
        )
