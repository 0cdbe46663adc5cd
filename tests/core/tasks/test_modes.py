# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from missiond.core.tasks.modes import BackgroundMode, ContentType, SlotType, parse_modes, slot_of
from missiond.errors import InvalidParameter

ITEMS = [
    "dataTransfer",
    "audioPlayback",
    "audioRecording",
    "location",
    "bluetoothInteraction",
    "multiDeviceConnection",
    "wifiInteraction",
    "voip",
    "taskKeeping",
]


def test_names_and_numbers_of_the_contract() -> None:
    assert [mode.item for mode in BackgroundMode] == ITEMS
    assert [int(mode) for mode in BackgroundMode] == list(range(1, 10))
    assert parse_modes(reversed(ITEMS)) == tuple(BackgroundMode)


def test_duplicates_fold() -> None:
    assert parse_modes(["voip"] * 10_000) == (BackgroundMode.VOIP,)


@pytest.mark.parametrize("items", [[], ["Voip"], ["voip", ""], ["x" * 1_000_000]])
def test_bad_lists(items: list[str]) -> None:
    with pytest.raises(InvalidParameter) as caught:
        parse_modes(items)
    assert len(str(caught.value)) < 500


def test_slots() -> None:
    assert slot_of(parse_modes(["dataTransfer", "voip"])) == (
        SlotType.LIVE_VIEW,
        ContentType.SYSTEM_LIVE_VIEW,
    )
    assert slot_of(parse_modes(["voip"])) == (SlotType.OTHER_TYPES, ContentType.BASIC_TEXT)
    assert (SlotType.LIVE_VIEW, SlotType.OTHER_TYPES) == (4, 65535)
    assert (ContentType.SYSTEM_LIVE_VIEW, ContentType.BASIC_TEXT) == (5, 0)
