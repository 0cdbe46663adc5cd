# SPDX-License-Identifier: Apache-2.0
"""Keeps owners of continuous tasks alive: OOM scores, freezing, logout, restarts."""
