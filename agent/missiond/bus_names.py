# SPDX-License-Identifier: Apache-2.0
"""Names on the bus."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from missiond.core.missions.missions import Mission
    from missiond.core.tasks.lease import Lease

BUS_NAME = "org.missiond.Agent1"
MANAGER_PATH = "/org/missiond/Agent1"
BACKGROUND_TASK_MANAGER = "org.missiond.Agent1.BackgroundTaskManager"
MANAGER = "org.missiond.Agent1.Manager"
TRANSIENT_TASK = "org.missiond.Agent1.TransientTask"
CONTINUOUS_TASK = "org.missiond.Agent1.ContinuousTask"
DISTRIBUTED_MISSION_MANAGER = "org.missiond.Agent1.DistributedMissionManager"
MISSION = "org.missiond.Agent1.Mission"
PEERS = "org.missiond.Agent1.Peers"
PEER = "org.missiond.Agent1.Peer"
SHARING = "org.missiond.Agent1.Sharing"


def path_of(lease: Lease) -> str:
    """Object path of a lease."""
    return f"{MANAGER_PATH}/{lease.kind}/{lease.id}"


def mission_path(mission: Mission) -> str:
    """Object path of a mission."""
    return f"{MANAGER_PATH}/mission/{mission.id}"


def peer_path(device_id: str) -> str:
    """Object path of another device."""
    return f"{MANAGER_PATH}/peer/{device_id}"
