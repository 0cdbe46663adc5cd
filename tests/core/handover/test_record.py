# SPDX-License-Identifier: Apache-2.0
"""The log of hand-overs outlives an upgrade."""

from __future__ import annotations

import json

import pytest

from missiond.core.handover.record import Phase, Record
from missiond.core.schema import BadValue, dump, load
from standins.worlds.handover_coordinator import target


def test_a_record_of_an_earlier_version() -> None:
    """It has no members for what goes along; one that nobody knows makes it unreadable."""
    record = target(Phase.PREPARED)
    written = json.loads(json.dumps(dump(record)))
    assert load(Record, written, exact=True) == record
    for name in ("along", "tasks", "note"):
        del written[name]
    assert load(Record, written, exact=True) == record
    with pytest.raises(BadValue):
        load(Record, {**written, "later": 1}, exact=True)
    with pytest.raises(BadValue):
        load(Record, {name: value for name, value in written.items() if name != "fence"}, exact=True)
