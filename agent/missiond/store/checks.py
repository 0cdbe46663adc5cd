# SPDX-License-Identifier: Apache-2.0
"""Values out of state files, before anything is done with them: a damaged file must not end the agent."""

from __future__ import annotations

import re

_UNIQUE_NAME = re.compile(r":[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+", re.ASCII)
_NAME_LENGTH = 255
MOST_PID = 2**31 - 1
MOST_UID = 2**32 - 2
MOST_TIME = 2**42
"""Milliseconds or ticks since boot: 139 years, whose nanoseconds fit a timer's 64 bits."""


def number(value: object, least: int, most: int) -> int:
    """Return it; raises TypeError for what is no int (a bool is none), ValueError out of range."""
    if type(value) is not int:
        raise TypeError(f"{value!r:.40} is no number")
    if not least <= value <= most:
        raise ValueError(f"{value!r:.40} is not from {least} to {most}")
    return value


def text(value: object) -> str:
    """Return it; raises TypeError for what is no str, ValueError for what D-Bus can't carry."""
    if type(value) is not str:
        raise TypeError(f"{value!r:.40} is no text")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"{value!r:.40} can't be sent")
    return value


def unique_name(value: object) -> str:
    """Return it; raises TypeError and ValueError for what is no unique name of a bus."""
    name = text(value)
    if not _UNIQUE_NAME.fullmatch(name) or len(name) > _NAME_LENGTH:
        raise ValueError(f"{name!r:.40} is no unique name")
    return name
