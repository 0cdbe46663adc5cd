# SPDX-License-Identifier: Apache-2.0
"""Pairings under way, and the proof of identity for a caller."""
