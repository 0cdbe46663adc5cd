# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.core.launch.unit import is_transfer, transfer_of, unit_name
from missiond.host.cgroups.units import application_of
from missiond.units.requests import is_service

TRANSFER = "0123456789abcdef" * 2


@given(st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=40))
def test_whoever_lists_missions_finds_the_application(app_id: str) -> None:
    name = unit_name(app_id, TRANSFER)
    assert is_service(name)
    assert len(name) < 256
    assert transfer_of(name) == TRANSFER
    if app_id.isprintable() and len(name) < 200:
        assert application_of(name) == app_id


@pytest.mark.parametrize(
    "name",
    [
        "app-missiond-x.service", f"app-missiond-@{TRANSFER}.service", f"app-missiond-x@{TRANSFER}.scope",
        f"app-missiond-x@{TRANSFER.upper()}.service", f"app-missiond-a-b@{TRANSFER}.service",
        f"app-missiond-../x@{TRANSFER}.service", f"x@{TRANSFER}.service",
    ],
)  # fmt: skip
def test_other_units(name: str) -> None:
    assert transfer_of(name) is None


def test_a_hand_over_has_its_name() -> None:
    with pytest.raises(ValueError, match="names no hand-over"):
        unit_name("x", "../../etc")
    assert not is_transfer("A" * 32)
    assert unit_name("", TRANSFER) == f"app-missiond-mission@{TRANSFER}.service"
