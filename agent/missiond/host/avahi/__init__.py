# SPDX-License-Identifier: Apache-2.0
"""Avahi, for announcing this device and finding others."""
