# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from missiond.core.near_names import did_you_mean

KNOWN = ("dataTransfer", "taskKeeping", "voip")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("datatransfer", ", did you mean dataTransfer?"),
        ("TaskKeepng", ", did you mean taskKeeping?"),
        ("void", ", did you mean voip?"),
        ("wake", ""),
        ("", ""),
        ("x" * 100_000, ""),
    ],
)
def test_what_may_be_meant(word: str, meant: str) -> None:
    assert did_you_mean(word, KNOWN) == meant
