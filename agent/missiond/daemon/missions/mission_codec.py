# SPDX-License-Identifier: Apache-2.0
"""Missions as the JSON of state files."""

from __future__ import annotations

from dataclasses import replace

from missiond.core import schema
from missiond.core.missions.missions import Mission
from missiond.store.saved_file import Json


def dump(mission: Mission, bus_id: str) -> Json:
    """Return all of a mission but the id, the name of the file; connections are of this bus."""
    return schema.dump(mission) | {"bus": bus_id}


def load(number: int, json: Json, bus_id: str) -> Mission:
    """Return the mission of a record, without a connection of another bus; raises ValueError."""
    mission = schema.load(Mission, json, id=number)
    if mission.registration is not None and json.get("bus") != bus_id:
        mission.registration = replace(mission.registration, connection="")
    return mission
