# SPDX-License-Identifier: Apache-2.0
"""Pairings under way, and what proves who is at the other end."""
