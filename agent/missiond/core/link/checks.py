# SPDX-License-Identifier: Apache-2.0
"""Error and value types of messages from another host."""

from __future__ import annotations

from typing import Annotated

from missiond.core.schema import I32, I63, U32, BadValue, Form, Length, Range

MAX_REASON = 1024
"""Characters of a reason or an error's text."""


BadMessage = BadValue
"""A message outside the protocol; `str()` gives the reason, safe to log."""


Serial = Annotated[int, Range(0, U32)]
Sequence = Annotated[int, Range(0, I63)]
MissionId = Annotated[int, Range(1, U32)]
Code = Annotated[int, Range(0, I32)]
Tag = Annotated[int, Range(-I32 - 1, I32)]
Reason = Annotated[str, Length(MAX_REASON)]
Name = Annotated[str, Length(255)]
TransferId = Annotated[str, Form("[0-9a-f]{32}", "32 lower-case hexadecimal digits")]
