# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from missiond.errors import InvalidParameter
from missiond.service.registration import registration_of


def test_what_goes_along() -> None:
    found = registration_of(
        {
            "argv": ["/x", "a\nb"], "cwd": "/",
            "environment": ["LANG=C", "LD_PRELOAD=/x", "HOME=/"], "relaunch": True,
            "unit-properties": ["Nice=5"], "state-directory": "x", "label": "a\x1bb",
        },
        ":1.5",
    )  # fmt: skip
    assert (found.argv, found.environment, found.dropped) == (
        ("/x", "a\nb"),
        ("LANG=C",),
        ("HOME", "LD_PRELOAD"),
    )
    assert (found.relaunch, found.continuable, found.properties) == (True, False, ("Nice=5",))
    assert (found.connection, found.origin, found.state_directory) == (":1.5", "", "x")


@pytest.mark.parametrize("what", ["continuable", "relaunch"])
@pytest.mark.parametrize(
    "more",
    [{"argv": ["x"]}, {"argv": ["/x"], "cwd": "x"}, {"environment": ["A"]}, {"environment": ["A=1"] * 1001}],
)
def test_what_goes_on_elsewhere_has_to_be_startable(what: str, more: dict[str, Any]) -> None:
    registration_of(more, ":1.5")
    with pytest.raises(InvalidParameter):
        registration_of({what: True, **more}, ":1.5")


@pytest.mark.parametrize("more", [{"unit-properties": ["ExecStart=/x"]}, {"state-directory": "../x"}])
def test_what_is_never_taken(more: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter):
        registration_of(more, ":1.5")
