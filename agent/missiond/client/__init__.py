# SPDX-License-Identifier: Apache-2.0
"""The agent for Python programs; `import missiond` has all of this.

    with missiond.keep_awake("nightly copy", mode="data-transfer", required=False):
        copy()

`keep_awake` and `delay_sleep` hold a task for a block, with or without an event loop; `connect` has all
for programs with one. Lengths of time are seconds or timedeltas, moments are datetimes. What goes wrong is
a missiond.Error (Unreachable, Denied, NotFound, Refused, Invalid, Busy, Failed), with the agent's `code`.

Names are imported when they are used: the daemon, and missionctl's help, pay nothing for them.
"""

from importlib import import_module

TYPE_CHECKING = False  # as typing has it, without importing that
if TYPE_CHECKING:
    from missiond.client._agent import Agent, connect
    from missiond.client._continuable import (
        ContinuableMission,
        HandedState,
        MoveRequest,
        description_of,
        handed_state,
    )
    from missiond.client._errors import (
        AgentError,
        Busy,
        Code,
        Denied,
        Error,
        Failed,
        Invalid,
        Missing,
        NotFound,
        NotKeptAwake,
        Refused,
        Unreachable,
    )
    from missiond.client._missions import MissionDetails, MissionInfo, MissionUsage
    from missiond.client._moves import Move, MoveInfo, MoveStep
    from missiond.client._peers import PairingRequest, PeerDetails, PeerInfo, ThisDevice
    from missiond.client._sync import BlockingDelay, BlockingTask, delay_sleep, keep_awake
    from missiond.client._task_infos import DelayInfo, TaskInfo, TransferProgress
    from missiond.client._tasks import Delay, Task
    from missiond.client._types import (
        KEEP_ALIVE,
        LONGEST_TASK,
        SHORTEST_TASK,
        AgentStatus,
        BatteryStatus,
        Ended,
        Event,
        Expiring,
        GivenUp,
        Mode,
        QuotaInfo,
        Resumed,
        Suspended,
        SuspendReason,
    )

__all__ = [
    "KEEP_ALIVE",
    "LONGEST_TASK",
    "SHORTEST_TASK",
    "Agent",
    "AgentError",
    "AgentStatus",
    "BatteryStatus",
    "BlockingDelay",
    "BlockingTask",
    "Busy",
    "Code",
    "ContinuableMission",
    "Delay",
    "DelayInfo",
    "Denied",
    "Ended",
    "Error",
    "Event",
    "Expiring",
    "Failed",
    "GivenUp",
    "HandedState",
    "Invalid",
    "Missing",
    "MissionDetails",
    "MissionInfo",
    "MissionUsage",
    "Mode",
    "Move",
    "MoveInfo",
    "MoveRequest",
    "MoveStep",
    "NotFound",
    "NotKeptAwake",
    "PairingRequest",
    "PeerDetails",
    "PeerInfo",
    "QuotaInfo",
    "Refused",
    "Resumed",
    "SuspendReason",
    "Suspended",
    "Task",
    "TaskInfo",
    "ThisDevice",
    "TransferProgress",
    "Unreachable",
    "connect",
    "delay_sleep",
    "description_of",
    "handed_state",
    "keep_awake",
]

_MODULES = {
    "_agent": ("Agent", "connect"),
    "_continuable": ("ContinuableMission", "HandedState", "MoveRequest", "description_of", "handed_state"),
    "_errors": (
        "AgentError",
        "Busy",
        "Code",
        "Denied",
        "Error",
        "Failed",
        "Invalid",
        "Missing",
        "NotFound",
        "NotKeptAwake",
        "Refused",
        "Unreachable",
    ),
    "_missions": ("MissionDetails", "MissionInfo", "MissionUsage"),
    "_moves": ("Move", "MoveInfo", "MoveStep"),
    "_peers": ("PairingRequest", "PeerDetails", "PeerInfo", "ThisDevice"),
    "_sync": ("BlockingDelay", "BlockingTask", "delay_sleep", "keep_awake"),
    "_task_infos": ("DelayInfo", "TaskInfo", "TransferProgress"),
    "_tasks": ("Delay", "Task"),
    "_types": (
        "KEEP_ALIVE",
        "LONGEST_TASK",
        "SHORTEST_TASK",
        "AgentStatus",
        "BatteryStatus",
        "Ended",
        "Event",
        "Expiring",
        "GivenUp",
        "Mode",
        "QuotaInfo",
        "Resumed",
        "SuspendReason",
        "Suspended",
    ),
}
_WHERE = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import what is asked for (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_WHERE[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
