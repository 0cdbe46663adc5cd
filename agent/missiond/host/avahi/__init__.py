# SPDX-License-Identifier: Apache-2.0
"""Avahi, which announces this device and finds others."""
