# SPDX-License-Identifier: Apache-2.0
"""Missions as the plain data of their state files."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from missiond.core.missions.missions import Leader, Mission, Registration, Sighting
from missiond.store.checks import text

_SIZES = {"uid": 2**32, "pid": 2**31, "tag": 2**31, "start_ticks": 2**63, "started": 2**63, "kill_at": 2**63}


@dataclass(frozen=True, slots=True)
class Remembered:
    """What an earlier run knew of a mission."""

    id: int
    seen: Sighting
    locked: bool
    found: bool
    registration: Registration | None
    kill_at: int | None
    registrant: Leader | None = None


def record(mission: Mission, bus_id: str = "") -> dict[str, Any]:
    """Everything but the id, which names the file; names of connections are those of this bus."""
    registration = mission.registration
    return {
        "seen": asdict(mission.seen),
        "locked": mission.locked,
        "found": mission.found,
        "registration": None if registration is None else asdict(registration),
        "registrant": None if mission.registrant is None else asdict(mission.registrant),
        "kill_at": mission.kill_at,
        "bus": bus_id,
    }


def parse(mission_id: int, data: dict[str, Any], bus_id: str = "") -> Remembered:
    """Return what the record tells; raises ValueError where it is no such record.

    On another bus, names of connections mean nothing.
    """
    try:
        seen = dict(data["seen"])
        seen["leader"] = _build(Leader, seen["leader"])
        registration, kill_at, who = data["registration"], data["kill_at"], data.get("registrant")
        if registration is not None and data.get("bus") != bus_id:
            registration = {**registration, "connection": ""}
        return Remembered(
            mission_id,
            _build(Sighting, seen),
            data["locked"] is True,
            data["found"] is True,
            None if registration is None else _build(Registration, registration),
            None if kill_at is None else int(_checked("kill_at", "int", kill_at)),
            None if who is None else _build(Leader, who),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a record of a mission: {error!r:.200}") from error


def _build(kind: Any, values: dict[str, Any]) -> Any:  # noqa: ANN401 (an instance of kind)
    """Fill a dataclass whose fields are of the types that its annotations name."""
    filled = {
        field.name: _checked(field.name, str(field.type), values[field.name])
        for field in fields(kind)
        # records of earlier versions have fewer fields
        if field.default is MISSING or field.name in values
    }
    return kind(**filled)


def _checked(name: str, kind: str, value: Any) -> Any:  # noqa: ANN401 (of that kind)
    if kind == "int" and type(value) is int and -_SIZES.get(name, 2**31) <= value < _SIZES.get(name, 2**31):
        return value
    if kind == "tuple[str, ...]" and isinstance(value, list):
        return tuple(text(item) for item in value)
    if kind == "str":
        return text(value)
    if type(value).__name__ == kind and kind in ("bool", "Leader"):
        return value
    raise TypeError(f"{name} is no {kind}")
