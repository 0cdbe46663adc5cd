# SPDX-License-Identifier: Apache-2.0
"""Missions of this host: found, numbered, remembered, stopped."""
