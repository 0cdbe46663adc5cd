# SPDX-License-Identifier: Apache-2.0
"""Clocks and timers of the kernel."""
