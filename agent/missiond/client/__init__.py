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
    from missiond.client._blocking import BlockingAgent
    from missiond.client._blocks import BlockingDelay, BlockingTask, delay_sleep, keep_awake
    from missiond.client._continuable import (
        ContinuableMission,
        HandedState,
        MoveRequest,
        description_of,
        handed_state,
    )
    from missiond.client._errors import Missing, NotKeptAwake, Unreachable
    from missiond.client._missions import MissionDetails, MissionInfo, MissionUsage
    from missiond.client._moves import Move, MoveInfo, MoveStep
    from missiond.client._peers import PairingRequest, PeerDetails, PeerInfo, ThisDevice
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
    from missiond.errors import (
        AgentError,
        Busy,
        Code,
        Denied,
        Error,
        Failed,
        Invalid,
        NotFound,
        Refused,
    )

__all__ = [
    "KEEP_ALIVE",
    "LONGEST_TASK",
    "SHORTEST_TASK",
    "Agent",
    "AgentError",
    "AgentStatus",
    "BatteryStatus",
    "BlockingAgent",
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

_MODULES = (
    "missiond.errors",
    *(
        f"missiond.client.{name}"
        for name in (
            "_errors", "_types", "_task_infos", "_tasks", "_missions", "_peers", "_moves", "_continuable",
            "_agent", "_blocks", "_blocking",
        )
    ),
)  # fmt: skip
"""Modules that have the names, looked at in turn; the first ones import no event loop."""


def __getattr__(name: str) -> object:
    """Import a name at the first use (PEP 562)."""
    if name in __all__:
        for module in map(import_module, _MODULES):
            if hasattr(module, name):
                value = globals()[name] = getattr(module, name)
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
