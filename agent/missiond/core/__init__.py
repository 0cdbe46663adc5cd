# SPDX-License-Identifier: Apache-2.0
"""The pure core: rules of tasks, quota and power. No D-Bus, no /proc, no clock of its own."""
