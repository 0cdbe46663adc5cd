# SPDX-License-Identifier: Apache-2.0
"""The table of who may call what has every method."""

from __future__ import annotations

from hosts.permission_table import ROWS
from missiond.bus.introspection import load_specs

BUS_DECIDES = ("org.missiond.Agent1.Sharing", "org.missiond.Peers1")
"""Between the agent and its peer unit: nobody else gets through the bus (tests/hosts/test_peer_unit.py)."""


def test_no_method_is_missing() -> None:
    """A method that nobody has decided about would be everybody's."""
    rows = {(row.interface, row.member): row.signature for row in ROWS}
    methods = {
        (spec.name, member): takes
        for spec in load_specs().values()
        if spec.name not in BUS_DECIDES
        for member, (takes, _) in spec.methods.items()
    }
    assert {method: rows.get(method) for method in methods} == methods
