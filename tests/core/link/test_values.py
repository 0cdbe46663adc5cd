# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from missiond.core.link.checks import BadMessage
from missiond.core.link.values import MAX_STRINGS, accept


@pytest.mark.parametrize(
    ("signature", "value"),
    [
        ("d", "1"), ("d", True), ("d", float("inf")), ("d", float("nan")), ("d", 10**400), ("d", None),
        ("as", "text"), ("as", [1]), ("as", [""] * (MAX_STRINGS + 1)), ("y", 256), ("u", -1), ("b", 1),
    ],
    ids=lambda it: repr(it)[:20],
)  # fmt: skip
def test_what_is_not_of_its_type(signature: str, value: Any) -> None:
    with pytest.raises(BadMessage):
        accept({"a": [signature, value]})


@pytest.mark.parametrize(
    ("signature", "value"), [("d", 1), ("d", 0.5), ("as", []), ("as", ["a"]), ("y", 255)]
)
def test_what_is(signature: str, value: Any) -> None:
    assert accept({"a": [signature, value]}) == {"a": (signature, value)}
