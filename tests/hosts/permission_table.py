# SPDX-License-Identifier: Apache-2.0
"""Who may call what: each method of the interface, and how it answers whom.

Columns, all about a process, tasks and a mission of alice's:

owner     alice herself, without a session
other     bob
admin     bob, whom a rule of polkit's allows manage-others
root      uid 0
denied    alice, whom a rule of polkit's denies everything
absent    alice, on a host without polkit
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from hosts.machine import TASKS
from hosts.people import MISSIONS

MANAGER_INTERFACE = "org.missiond.Agent1.Manager"
PEERS = "org.missiond.Agent1.Peers"
DEVICE = "0" * 64
"""Of a device that nobody knows; peers are off on the host."""
COLUMNS = ("owner", "other", "admin", "root", "denied", "absent")


class Stage(NamedTuple):
    """What alice has: a process, and of it a request, a data transfer (context "") and a mission."""

    pid: int
    request: int
    task: int
    mission: int


class Row(NamedTuple):
    """A method, the arguments with which it is called, and its outcome by column."""

    interface: str
    member: str
    signature: str
    body: Callable[[Stage], list[Any]]
    outcomes: tuple[str, ...]


def _row(interface: str, member: str, signature: str, body: Callable[[Stage], list[Any]], said: str) -> Row:
    outcomes = tuple(said.split())
    assert len(outcomes) == len(COLUMNS)
    return Row(interface, member, signature, body, outcomes)


def _pid(stage: Stage, **more: str) -> dict[str, Any]:
    return {"pid": ["u", stage.pid], **{key: ["s", value] for key, value in more.items()}}


_ALL = "ok ok ok ok ok ok"
_OTHERS_NEED_POLKIT = "ok 201 ok ok ok ok"
_NEEDS_POLKIT = "ok 201 ok ok 201 201"
_MODE = ["dataTransfer"]
_OFF = " ".join(["16300501"] * 6)

ROWS = [
    _row(TASKS, "RequestSuspendDelay", "sa{sv}", lambda s: ["x", _pid(s)], _OTHERS_NEED_POLKIT),
    _row(TASKS, "GetRemainingDelayTime", "u", lambda s: [s.request], "ok 9900001 9900001 ok ok ok"),
    _row(TASKS, "CancelSuspendDelay", "u", lambda s: [s.request], "ok 9900001 9900001 ok ok ok"),
    _row(TASKS, "GetTransientTaskInfo", "", lambda _: [], _ALL),
    _row(
        TASKS, "StartBackgroundRunning", "asa{sv}", lambda s: [_MODE, _pid(s, context="new")], _NEEDS_POLKIT
    ),
    _row(TASKS, "UpdateBackgroundRunning", "asa{sv}", lambda s: [["voip"], _pid(s)], _NEEDS_POLKIT),
    _row(TASKS, "StopBackgroundRunning", "a{sv}", lambda s: [_pid(s)], _OTHERS_NEED_POLKIT),
    _row(TASKS, "CancelContinuousTask", "u", lambda s: [s.task], _OTHERS_NEED_POLKIT),
    _row(TASKS, "GetAllContinuousTasks", "b", lambda _: [True], "ok ok ok ok 201 201"),
    _row(
        TASKS, "UpdateDataTransferProgress", "ua{sv}", lambda s: [s.task, {}], "ok 9800005 9800005 ok ok ok"
    ),
    _row(MISSIONS, "RegisterMissionListener", "s", lambda _: [""], _ALL),
    _row(MISSIONS, "UnregisterMissionListener", "s", lambda _: [""], _ALL),
    _row(MISSIONS, "GetMissionInfos", "su", lambda _: ["", 1000], _ALL),
    _row(MISSIONS, "GetMissionInfo", "su", lambda s: ["", s.mission], _OTHERS_NEED_POLKIT),
    _row(MISSIONS, "GetMissionSnapshot", "su", lambda s: ["", s.mission], _OTHERS_NEED_POLKIT),
    _row(MISSIONS, "RegisterMission", "a{sv}", lambda s: [_pid(s)], _OTHERS_NEED_POLKIT),
    _row(MISSIONS, "UnregisterMission", "u", lambda s: [s.mission], _OTHERS_NEED_POLKIT),
    _row(MISSIONS, "LockMission", "u", lambda s: [s.mission], _OTHERS_NEED_POLKIT),
    _row(MISSIONS, "UnlockMission", "u", lambda s: [s.mission], _OTHERS_NEED_POLKIT),
    _row(MISSIONS, "TerminateMission", "u", lambda s: [s.mission], _OTHERS_NEED_POLKIT),
    _row(MISSIONS, "ProvideContinueState", "ubay", lambda _: [1, True, []], " ".join(["401"] * 6)),
    _row(MISSIONS, "ProvideContinueStateFile", "ubh", lambda _: [1, True, 0], " ".join(["401"] * 6)),
    _row(MISSIONS, "ContinueMission", "ssua{sv}", lambda s: [DEVICE, DEVICE, s.mission, {}], _OFF),
    _row(MISSIONS, "ContinueApplication", "sssa{sv}", lambda _: [DEVICE, DEVICE, "x", {}], _OFF),
    _row(MISSIONS, "ListContinuations", "", lambda _: [], _ALL),
    _row(MISSIONS, "ReclaimContinuation", "s", lambda _: ["0" * 32], " ".join(["401"] * 6)),
    _row(MISSIONS, "DropContinuation", "s", lambda _: ["0" * 32], " ".join(["401"] * 6)),
    _row(MISSIONS, "StartSyncRemoteMissions", "sbi", lambda _: [DEVICE, True, 0], _OFF),
    _row(MISSIONS, "StopSyncRemoteMissions", "s", lambda _: [DEVICE], _OFF),
    _row(PEERS, "ListPeers", "", lambda _: [], _OFF),
    _row(PEERS, "PreparePairing", "", lambda _: [], _OFF),
    _row(PEERS, "RequestPairing", "s", lambda _: [DEVICE], _OFF),
    _row(PEERS, "ConfirmPairing", "sb", lambda _: [DEVICE, True], _OFF),
    _row(PEERS, "TrustDevice", "sa{sv}", lambda _: [DEVICE, {}], _OFF),
    _row(PEERS, "Unpair", "s", lambda _: [DEVICE], _OFF),
    _row(PEERS, "SetPeerPermissions", "sas", lambda _: [DEVICE, ["sync"]], _OFF),
    _row(MANAGER_INTERFACE, "Reload", "", lambda _: [], "201 201 201 ok 201 201"),
]
