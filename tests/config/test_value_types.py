# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.config.parameters import Parameter
from missiond.config.settings import PARAMETERS
from missiond.config.value_types import LOCKS, PERCENT, SPAN, Number, ValueType

COUNT, SHARE, TIME = Number(1, 100), Number(0, 100, PERCENT), Number(1000, 60_000, SPAN)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (COUNT, "1", 1), (COUNT, "100", 100), (COUNT, "007", 7),
        (SHARE, "20", 20), (SHARE, "20%", 20), (SHARE, "20 %", 20), (SHARE, "0", 0),
        (TIME, "1min", 60_000),
        (LOCKS, "sleep", ("sleep",)), (LOCKS, "idle:sleep", ("sleep", "idle")),
        (LOCKS, " sleep : sleep ", ("sleep",)), (LOCKS, "handle-lid-switch", ("handle-lid-switch",)),
    ],
)  # fmt: skip
def test_good_values(kind: ValueType, text: str, value: object) -> None:
    assert kind.parse(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (COUNT, "0"), (COUNT, "101"), (COUNT, "1.0"), (COUNT, "-1"),
        (COUNT, "1_0"), (COUNT, "٣"), (COUNT, "9" * 10_000), (COUNT, ""),
        (SHARE, "101"), (SHARE, "%"), (SHARE, "5%%"), (SHARE, "1.5"), (SHARE, "nan"),
        (TIME, "999ms"), (TIME, "61s"), (Number(0, 1, SPAN), "soon"),
        (LOCKS, ""), (LOCKS, "sleep:"), (LOCKS, "Sleep"), (LOCKS, "sleep idle"),
        (LOCKS, "handle-power-key"), (LOCKS, "sleep,idle"),
    ],
)  # fmt: skip
def test_bad_values(kind: ValueType, text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        kind.parse(text)


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.place)
@given(text=st.text(max_size=20))
def test_every_parameter_survives_any_text(parameter: Parameter, text: str) -> None:
    with contextlib.suppress(ValueError):
        value = parameter.kind.parse(text)
        assert parameter.kind.parse(parameter.kind.format(value)) == value
