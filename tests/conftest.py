# SPDX-License-Identifier: Apache-2.0
"""Fixtures for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from standins.examples import examples
from standins.private_bus import private_bus, system_bus

__all__ = ["private_bus", "system_bus"]

# How long an example takes says how busy this machine is, and nothing about what is tested.
settings.register_profile(
    "suites", max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suites")
