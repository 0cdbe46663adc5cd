# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from missiond.store.checks import number, text, unique_name


@pytest.mark.parametrize("value", [0, 1, 10])
def test_numbers_in_range(value: int) -> None:
    assert number(value, 0, 10) == value


@pytest.mark.parametrize("value", [-1, 11, 2**70, True, 1.0, "1", None, [], {}])
def test_what_is_no_such_number(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        number(value, 0, 10)


@pytest.mark.parametrize("value", ["", "x", "é\n日本", "\x7f"])
def test_text(value: str) -> None:
    assert text(value) == value


@pytest.mark.parametrize("value", ["\0", "a\0", "\ud800", "x\udfff", b"x", 1, None, []])
def test_what_can_not_be_sent(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        text(value)


@pytest.mark.parametrize("value", [":1.1", ":1.4711", ":a-b_c.9"])
def test_unique_names(value: str) -> None:
    assert unique_name(value) == value


@pytest.mark.parametrize(
    "value", ["", ":", ":1", "1.1", "org.missiond.Agent1", ":1.", ":1.é", ":1.1\n", f":1.{'1' * 300}", 1]
)
def test_what_is_no_unique_name(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        unique_name(value)
