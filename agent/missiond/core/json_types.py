# SPDX-License-Identifier: Apache-2.0
"""Types and ranges of single values in state files and messages; see `schema`."""

from __future__ import annotations

import re
from typing import Annotated

from missiond.core.schema import I32, U32, BadValue, Checked, Length, Range

Pid = Annotated[int, Range(1, I32)]
Uid = Annotated[int, Range(0, U32 - 1)]
BootTime = Annotated[int, Range(0, 2**42)]
"""Milliseconds or ticks since boot, up to 139 years: in nanoseconds as much as a timer's 64 bits hold."""
Count = Annotated[int, Range(0, I32)]
Score = Annotated[int, Range(-1000, 1000)]
"""oom_score_adj, proc(5)."""

_UNIQUE_NAME = re.compile(r":[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+", re.ASCII)


def _unique_name(value: str) -> str:
    if not _UNIQUE_NAME.fullmatch(value):
        raise BadValue("no unique name of a bus")
    return value


UniqueName = Annotated[str, Length(255), Checked(_unique_name)]
