# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.core.tasks.continuous import ContinuousTask, Progress
from missiond.core.tasks.modes import BackgroundMode
from missiond.core.tasks.owner import App, Owner
from missiond.core.tasks.transient import TransientTask
from missiond.daemon.tasks.lease_codec import SavedLease, dump, load

OWNER = Owner(42, 4711, App(1000, "upload"), ":1.7", "app-upload-1.scope")
TRANSIENT = TransientTask(
    id=3, owner=OWNER, requester=App(1000, "busctl"), started=5, reason="été", deadline=99, warned=True
)
CONTINUOUS = ContinuousTask(
    id=4,
    owner=Owner(42, 4711, App(1000, "upload")),
    requester=App(1000, "upload"),
    started=5,
    context="c",
    modes=(BackgroundMode.DATA_TRANSFER, BackgroundMode.VOIP),
    what=("sleep", "idle"),
    progress=Progress("t", "f", 7),
    activating=True,
)


@pytest.mark.parametrize("lease", [TRANSIENT, CONTINUOUS])
def test_there_and_back(lease: TransientTask | ContinuousTask) -> None:
    saved = SavedLease(lease, "bus", 5)
    assert load(lease.kind, lease.id, json.loads(json.dumps(dump(saved)))) == saved


def _paths(record: dict[str, Any], prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in record.items():
        found.append((*prefix, key))
        if isinstance(value, dict):
            found += _paths(value, (*prefix, key))
    return found


@given(st.data())
def test_a_damaged_record_is_refused_and_nothing_else(data: st.DataObject) -> None:
    lease = TRANSIENT if data.draw(st.booleans()) else CONTINUOUS
    record = json.loads(json.dumps(dump(SavedLease(lease))))
    path = data.draw(st.sampled_from(_paths(record)))
    inner = record
    for key in path[:-1]:
        inner = inner[key]
    if data.draw(st.booleans()):
        del inner[path[-1]]
    else:
        inner[path[-1]] = data.draw(st.sampled_from([None, [], {}, 1.5, "x", -1, True, ["x"], [99]]))
    try:
        found = load(lease.kind, lease.id, record)
    except ValueError:
        return
    assert found.lease.kind == lease.kind
