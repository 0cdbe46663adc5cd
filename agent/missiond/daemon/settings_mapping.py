# SPDX-License-Identifier: Apache-2.0
"""The configuration in the core's terms."""

from __future__ import annotations

from missiond.config.settings import Settings
from missiond.core.power.level import Thresholds
from missiond.core.tasks.locks import WhatTable
from missiond.core.tasks.modes import BY_ITEM
from missiond.core.tasks.transient import TransientLimits


def transient_limits(settings: Settings) -> TransientLimits:
    """Of [Transient]."""
    transient = settings.transient
    return TransientLimits(
        max_requests=transient.max_requests,
        max_delay=transient.max_delay_ms,
        low_battery_max_delay=transient.low_battery_max_delay_ms,
        minimum_quota=transient.minimum_quota_ms,
        warning_time=transient.warning_time_ms,
        what=transient.what,
    )


def thresholds(settings: Settings) -> Thresholds:
    """Of [Battery]."""
    battery = settings.battery
    return Thresholds(
        low=battery.low_percent,
        low_hysteresis=battery.low_hysteresis,
        critical=battery.critical_percent,
        critical_hysteresis=battery.critical_hysteresis,
    )


def what_table(settings: Settings) -> WhatTable:
    """Of [Continuous]."""
    return {BY_ITEM[item]: what for item, what in settings.continuous.what.items()}
