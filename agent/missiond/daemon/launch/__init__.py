# SPDX-License-Identifier: Apache-2.0
"""Starts missions that other hosts hand over, and describes those of this host."""
