# SPDX-License-Identifier: Apache-2.0
"""The continuations of org.missiond.Agent1.DistributedMissionManager."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from missiond.bus.interface import Call, Caller
from missiond.bus.variants import from_variants, unwrap, variant
from missiond.core.handover.options import ContinueOptions
from missiond.core.handover.record import InFlight, Record, Role
from missiond.core.missions.missions import Mission, sees
from missiond.daemon.authority import Action, Authority
from missiond.daemon.handover.handovers import Handovers
from missiond.daemon.handover.pending_continuations import PendingContinuations
from missiond.daemon.handover.state_requests import StateRequests
from missiond.daemon.missions.registry import MissionRegistry
from missiond.daemon.peering.peers_client import PeersClient
from missiond.errors import InvalidParameter, NotSourceOrTarget, PermissionDenied, SystemServiceFailed
from missiond.host.user_database import USERS
from missiond.service.continuation_signals import hand_over_info
from missiond.service.device_id_checks import check_form, check_known

APP_ID = 255
_CHOICES = {
    "keep-source": "keep_source",
    "isFreeInstall": "free_install",
    "with-tasks": "with_tasks",
    "require-tasks": "require_tasks",
}
_TASKS = {"with_tasks": True, "require_tasks": False}
NOBODY = -1

Whose = Callable[[Record], int]
"""Uid here of the user of a mission on the move; NOBODY where unknown."""


class Continuations:
    """Continuations for callers with manage-missions and distributed-datasync; manage-others for others'."""

    def __init__(
        self,
        handovers: Handovers,
        missions: MissionRegistry,
        continuations: PendingContinuations,
        unit: PeersClient,
        authority: Authority,
        requests: StateRequests,
        whose: Whose,
    ) -> None:
        self._requests = requests
        self._handovers = handovers
        self._missions = missions
        self._continuations = continuations
        self._unit = unit
        self._authority = authority
        self._whose = whose

    async def continue_mission(
        self, call: Call, src: str, dst: str, mission_id: int, want: dict[str, Any]
    ) -> int:
        """Continue a mission at another host, or one of another host here; return the continuation."""
        if mission_id == 0:
            raise InvalidParameter("mission ids start at 1")
        chosen = _terms(want)
        pushed, peer = await self._direction(src, dst)
        caller = await self._permitted(call)
        found = self._missions.table.find(mission_id) if pushed else None
        return await self._begin(call, caller, peer, found, mission_id, "", chosen)

    async def continue_application(
        self, call: Call, src: str, dst: str, app_id: str, want: dict[str, Any]
    ) -> int:
        """Continue the newest mission of an application elsewhere, or here; return the continuation."""
        if not app_id or len(app_id) > APP_ID:
            raise InvalidParameter(f"app_id has 1 to {APP_ID} characters, as GetMissionInfos shows it")
        chosen = _terms(want)
        pushed, peer = await self._direction(src, dst)
        caller = await self._permitted(call)
        found = None
        if pushed:
            whose = None if caller.uid == 0 else caller.uid
            found = self._handovers.source.newest(self._missions.table.of(whose), app_id)
        return await self._begin(call, caller, peer, found, 0, app_id, chosen)

    async def list_continuations(self, call: Call) -> list[dict[str, Any]]:
        """List the unfinished hand-overs of the caller's missions, for uid 0 all."""
        caller = await call.caller()
        everybody = await self._authority.sees_all(call, caller)
        return [
            _row(each)
            for each in self._handovers.in_flight()
            if everybody or sees(caller.uid, self._whose(each.record))
        ]

    async def reclaim_continuation(self, call: Call, transfer: str) -> None:
        """Take back a mission in doubt."""
        await self._own(call, transfer)
        await self._handovers.reclaim(transfer)

    async def drop_continuation(self, call: Call, transfer: str) -> None:
        """Give up a hand-over prepared here."""
        await self._own(call, transfer)
        await self._handovers.drop(transfer)

    def provide_continue_state(self, call: Call, continuation_id: int, agree: bool, state: bytes) -> None:
        """Take the answer to ContinueRequested, from the asked connection."""
        self._requests.provide(call.sender, continuation_id, agree, bytes(state))

    async def provide_continue_state_file(
        self, call: Call, continuation_id: int, agree: bool, state: int
    ) -> None:
        """Take the answer with the state in a file, and return once copied."""
        await self._requests.provide_file(call.sender, continuation_id, agree, lambda: call.take_fd(state))

    async def _begin(
        self,
        call: Call,
        caller: Caller,
        peer: str,
        found: Mission | None,
        mission_id: int,
        app_id: str,
        chosen: dict[str, Any],
    ) -> int:
        if found is not None and not sees(caller.uid, found.uid):
            await self._authority.require(Action.MANAGE_OTHERS, call, caller.uid)
        number = self._continuations.next()
        terms = ContinueOptions(continuation=number, **chosen)
        terms.check()
        self._continuations.wait(number, caller.name, caller.uid)
        try:
            if found is not None:
                await self._handovers.push(peer, found, terms)
            else:
                await self._handovers.pull(peer, mission_id, app_id, terms)
        except BaseException:
            self._continuations.done(number)
            raise
        return number

    async def _direction(self, src: str, dst: str) -> tuple[bool, str]:
        """Return whether the mission is here, and the other device.

        Both have to be named: what a caller forgot must not move a mission.
        """
        for device_id in (src, dst):
            check_form(device_id)
        await self._unit.ready()
        here, there = src == self._unit.local_id, dst == self._unit.local_id
        if here and there:
            raise InvalidParameter("source and target are both this host; name another device as one of them")
        if not here and not there:
            raise NotSourceOrTarget("neither source nor target is this host; call the agent of one of them")
        peer = dst if here else src
        await check_known(peer, self._unit)
        return here, peer

    async def _permitted(self, call: Call) -> Caller:
        caller = await call.caller()
        for action in (Action.MANAGE_MISSIONS, Action.DISTRIBUTED_DATASYNC):
            await self._authority.require(action, call, caller.uid)
        return caller

    async def _own(self, call: Call, transfer: str) -> None:
        found = next((e for e in self._handovers.in_flight() if e.record.transfer == transfer), None)
        if found is None:
            raise InvalidParameter("there is no such transfer in flight; see ListContinuations")
        caller = await call.caller()
        if not sees(caller.uid, self._whose(found.record)):
            await self._authority.require(Action.MANAGE_OTHERS, call, caller.uid)


def owner_of(record: Record, continuations: PendingContinuations, mapped: Callable[[Record], int]) -> int:
    """Return the user of a mission: the one described, on this host, else the caller.

    `mapped` returns the user for a mission from another host, and raises PermissionDenied.
    """
    name = record.description.get("user")
    try:
        if record.role is Role.TARGET and record.description:
            return mapped(record)
        if isinstance(name, str) and name:
            return USERS.uid_of(name)
    except (KeyError, PermissionDenied, InvalidParameter, SystemServiceFailed):
        return NOBODY
    waiting = continuations.who(record.continuation)
    return NOBODY if waiting is None else waiting.uid


def _terms(want: dict[str, Any]) -> dict[str, Any]:
    """Take our keys out of want_param, as members of Terms."""
    chosen: dict[str, Any] = {}
    rest = dict(want)
    for key, name in _CHOICES.items():
        if (value := rest.pop(key, None)) is not None:
            if value.signature != "b":
                raise InvalidParameter(
                    f"'{key}' in want_param takes a boolean (b), got {value.signature!r:.20}"
                )
            chosen[name] = bool(unwrap(value))
    taken = {name: chosen.pop(name, default) for name, default in _TASKS.items()}
    if taken["require_tasks"] and not taken["with_tasks"]:
        raise InvalidParameter("'require-tasks' in want_param makes no sense without 'with-tasks'")
    if not taken["with_tasks"] or taken["require_tasks"]:
        chosen["tasks"] = "require" if taken["require_tasks"] else "without"
    chosen["want"] = from_variants(rest)
    return chosen


def _row(flying: InFlight) -> dict[str, Any]:
    record = flying.record
    return {
        **hand_over_info(record),
        "continuation-id": variant("u", record.continuation),
        "phase": variant("s", record.phase.value if flying.readable else "unreadable"),
        "size": variant("t", record.size),
        "in-doubt": variant("b", flying.in_doubt),
        "can-reclaim": variant("b", flying.can_reclaim),
        "reason": variant("s", record.reason),
    }
