# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from missiond.core.json_types import UniqueName
from missiond.core.schema import BadValue, check_of


@pytest.mark.parametrize("value", [":1.1", ":1.4711", ":a-b_c.9"])
def test_unique_names(value: str) -> None:
    assert check_of(UniqueName)(value) == value


@pytest.mark.parametrize(
    "value", ["", ":", ":1", "1.1", "org.missiond.Agent1", ":1.", ":1.é", ":1.1\n", f":1.{'1' * 300}", 1]
)
def test_what_is_no_unique_name(value: object) -> None:
    with pytest.raises(BadValue):
        check_of(UniqueName)(value)
