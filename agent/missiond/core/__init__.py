# SPDX-License-Identifier: Apache-2.0
"""The pure core: rules of tasks, quota and power, without D-Bus, /proc or a clock."""
