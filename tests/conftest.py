# SPDX-License-Identifier: Apache-2.0
"""Fixtures for all tests."""

from __future__ import annotations

from standins.private_bus import private_bus, system_bus

__all__ = ["private_bus", "system_bus"]
