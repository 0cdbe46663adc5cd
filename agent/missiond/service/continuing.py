# SPDX-License-Identifier: Apache-2.0
"""The half of org.missiond.Agent1.DistributedMissionManager that is about missions that go on elsewhere."""

from __future__ import annotations

import pwd
from collections.abc import Callable
from typing import Any

from missiond.agent.authority import Action, Authority
from missiond.agent.continuation_files import Continuations
from missiond.agent.handovers import Handovers
from missiond.agent.missions import Missions
from missiond.agent.peers import PeerUnit
from missiond.bus.interface import Call, Caller
from missiond.bus.json_variants import from_variants
from missiond.bus.values import unwrap, variant
from missiond.core.handover.in_flight import InFlight
from missiond.core.handover.phases import Role
from missiond.core.handover.record import Record
from missiond.core.handover.terms import Terms
from missiond.core.missions import Mission, sees
from missiond.errors import InvalidParameter, NotSourceOrTarget, PermissionDenied
from missiond.service.device_ids import check_form, check_known

APP_ID = 255
_CHOICES = {"keep-source": "keep_source", "isFreeInstall": "free_install"}
NOBODY = -1

Whose = Callable[[Record], int]
"""Uid here of whose mission a hand-over is; NOBODY where that is not known."""


class Continuing:
    """Takes manage-missions and distributed-datasync; other users' missions take manage-others as well."""

    def __init__(
        self,
        handovers: Handovers,
        missions: Missions,
        continuations: Continuations,
        unit: PeerUnit,
        authority: Authority,
        whose: Whose,
    ) -> None:
        self._handovers = handovers
        self._missions = missions
        self._continuations = continuations
        self._unit = unit
        self._authority = authority
        self._whose = whose

    async def mission(self, call: Call, src: str, dst: str, mission_id: int, want: dict[str, Any]) -> int:
        """ContinueMission."""
        if mission_id == 0:
            raise InvalidParameter("mission ids start at 1")
        chosen = _terms(want)
        pushed, peer = await self._direction(src, dst)
        caller = await self._permitted(call)
        found = self._missions.table.find(mission_id) if pushed else None
        return await self._begin(call, caller, peer, found, mission_id, "", chosen)

    async def application(self, call: Call, src: str, dst: str, app_id: str, want: dict[str, Any]) -> int:
        """ContinueApplication."""
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

    async def list(self, call: Call, *, everybody: bool) -> list[dict[str, Any]]:
        """ListContinuations."""
        caller = await call.caller()
        return [
            _row(each)
            for each in self._handovers.in_flight()
            if everybody or sees(caller.uid, self._whose(each.record))
        ]

    async def reclaim(self, call: Call, transfer: str) -> None:
        """ReclaimContinuation."""
        await self._own(call, transfer)
        await self._handovers.reclaim(transfer)

    async def drop(self, call: Call, transfer: str) -> None:
        """DropContinuation."""
        await self._own(call, transfer)
        await self._handovers.drop(transfer)

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
        terms = Terms(continuation=number, **chosen)
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
        """Return whether the mission is here, and the other device; "" is this host."""
        for device_id in (src, dst):
            if device_id:
                check_form(device_id)
        if src and dst:
            await self._unit.ready()
        local = ("", self._unit.local_id)
        here, there = src in local, dst in local
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


def owner_of(record: Record, continuations: Continuations, mapped: Callable[[Record], int]) -> int:
    """Whose mission it is: the user here that its description names, else whoever asked for it.

    `mapped` finds the user of what comes from another host, and raises PermissionDenied.
    """
    name = record.description.get("user")
    try:
        if record.role is Role.TARGET and record.description:
            return mapped(record)
        if isinstance(name, str) and name:
            return pwd.getpwnam(name).pw_uid
    except (KeyError, PermissionDenied, InvalidParameter):
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
    chosen["want"] = from_variants(rest)
    return chosen


def _row(flying: InFlight) -> dict[str, Any]:
    record = flying.record
    label = record.description.get("label", "")
    return {
        "transfer": variant("s", record.transfer),
        "continuation-id": variant("u", record.continuation),
        "role": variant("s", record.role.value),
        "device-id": variant("s", record.peer),
        "mission-id": variant("u", record.mission),
        "app-id": variant("s", record.app_id or str(record.description.get("app_id", ""))),
        "label": variant("s", label if isinstance(label, str) else ""),
        "phase": variant("s", record.phase.value if flying.readable else "unreadable"),
        "size": variant("t", record.size),
        "in-doubt": variant("b", flying.in_doubt),
        "can-reclaim": variant("b", flying.can_reclaim),
        "reason": variant("s", record.reason),
    }
