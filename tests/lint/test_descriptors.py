# SPDX-License-Identifier: Apache-2.0
"""The limits of the unit carry what the settings allow."""

from __future__ import annotations

import re
from pathlib import Path

from missiond.config.settings import Settings
from missiond.daemon.tasks.inhibitors import AT_ONCE

UNIT = Path(__file__).resolve().parents[2] / "systemd" / "missiond.service"
OF_A_MISSION = 1
"""A pidfd."""
OF_A_TASK = 3
"""The lock, a pidfd, and cgroup.events of its owner's cgroup."""
OF_THE_AGENT = 512
"""Connections, timers, directories and files that are open for a moment."""


def limit(name: str) -> int:
    found = re.search(rf"^{name}=([0-9]+)$", UNIT.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def test_there_are_descriptors_for_all_that_the_settings_allow() -> None:
    settings = Settings()
    missions, tasks = settings.missions.max_missions, settings.limits.max_tasks
    assert OF_A_MISSION * missions + OF_A_TASK * tasks + OF_THE_AGENT <= limit("LimitNOFILE")


def test_the_store_has_room_for_each_lock_and_for_those_that_change() -> None:
    assert Settings().limits.max_tasks + AT_ONCE <= limit("FileDescriptorStoreMax")


def test_one_user_takes_no_more_than_a_part_of_all_tasks() -> None:
    settings = Settings()
    assert 2 * settings.continuous.max_tasks_per_user <= settings.limits.max_tasks
