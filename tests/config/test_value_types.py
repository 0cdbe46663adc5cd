# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.config.parameters import Parameter
from missiond.config.settings import PARAMETERS
from missiond.config.value_types import Count, Percent, Span, ValueType, What


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Count(1, 100), "1", 1), (Count(1, 100), "100", 100), (Count(1, 100), "007", 7),
        (Percent(), "20", 20), (Percent(), "20%", 20), (Percent(), "20 %", 20), (Percent(), "0", 0),
        (Span(1000, 60_000), "1min", 60_000),
        (What(), "sleep", ("sleep",)), (What(), "idle:sleep", ("sleep", "idle")),
        (What(), " sleep : sleep ", ("sleep",)), (What(), "handle-lid-switch", ("handle-lid-switch",)),
    ],
)  # fmt: skip
def test_good_values(kind: ValueType, text: str, value: object) -> None:
    assert kind.parse(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Count(1, 100), "0"), (Count(1, 100), "101"), (Count(1, 100), "1.0"), (Count(1, 100), "-1"),
        (Count(1, 100), "1_0"), (Count(1, 100), "٣"), (Count(1, 100), "9" * 10_000), (Count(1, 100), ""),
        (Percent(), "101"), (Percent(), "%"), (Percent(), "5%%"), (Percent(), "1.5"), (Percent(), "nan"),
        (Span(1000, 60_000), "999ms"), (Span(1000, 60_000), "61s"), (Span(0, 1), "soon"),
        (What(), ""), (What(), "sleep:"), (What(), "Sleep"), (What(), "sleep idle"),
        (What(), "handle-power-key"), (What(), "sleep,idle"),
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
