# SPDX-License-Identifier: Apache-2.0
"""Kinds of background work, with names and numbers of OpenHarmony."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from missiond.errors import InvalidParameter


class BackgroundMode(IntEnum):
    """Kinds of work of continuous tasks, with the numbers of OpenHarmony's BackgroundMode."""

    DATA_TRANSFER = 1
    AUDIO_PLAYBACK = 2
    AUDIO_RECORDING = 3
    LOCATION = 4
    BLUETOOTH_INTERACTION = 5
    MULTI_DEVICE_CONNECTION = 6
    WIFI_INTERACTION = 7
    VOIP = 8
    TASK_KEEPING = 9

    @property
    def item(self) -> str:
        """Name on the bus, for example `dataTransfer`."""
        head, *tail = self.name.lower().split("_")
        return head + "".join(word.capitalize() for word in tail)


class SlotType(IntEnum):
    """Notification slot of a task."""

    LIVE_VIEW = 4
    OTHER_TYPES = 65535


class ContentType(IntEnum):
    """Notification content of a task."""

    BASIC_TEXT = 0
    SYSTEM_LIVE_VIEW = 5


BY_ITEM = {mode.item: mode for mode in BackgroundMode}
NO_NOTIFICATION = -1

Modes = tuple[BackgroundMode, ...]


def parse_modes(items: Iterable[str]) -> Modes:
    """Return modes by name, without duplicates and in order of number.

    Raises InvalidParameter for an empty list or an unknown name.
    """
    found: set[BackgroundMode] = set()
    for item in items:
        mode = BY_ITEM.get(item)
        if mode is None:
            raise InvalidParameter(f"unknown mode {item[:40]!r}; the modes are {', '.join(BY_ITEM)}")
        found.add(mode)
    if not found:
        raise InvalidParameter(f"bg_modes is empty; name at least one of {', '.join(BY_ITEM)}")
    return tuple(sorted(found))


def slot_of(modes: Modes) -> tuple[SlotType, ContentType]:
    """Where the notification of such a task belongs."""
    if BackgroundMode.DATA_TRANSFER in modes:
        return SlotType.LIVE_VIEW, ContentType.SYSTEM_LIVE_VIEW
    return SlotType.OTHER_TYPES, ContentType.BASIC_TEXT
