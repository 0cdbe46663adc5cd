# SPDX-License-Identifier: Apache-2.0
"""The log of hand-overs outlives an upgrade."""

from __future__ import annotations

import json

import pytest

from missiond.core.handover.codec import from_json, to_json
from missiond.core.handover.record import Phase
from missiond.core.link.checks import BadMessage
from standins.worlds.handover_book import target


def test_a_record_of_an_earlier_version() -> None:
    """It has no members for what goes along; one that nobody knows makes it unreadable."""
    record = target(Phase.PREPARED)
    written = json.loads(json.dumps(to_json(record)))
    assert from_json(written) == record
    for name in ("along", "tasks", "note"):
        del written[name]
    assert from_json(written) == record
    with pytest.raises(BadMessage):
        from_json({**written, "later": 1})
    with pytest.raises(BadMessage):
        from_json({name: value for name, value in written.items() if name != "fence"})
