# SPDX-License-Identifier: Apache-2.0
"""Starts of missions from other hosts, and launch descriptions of local ones."""
