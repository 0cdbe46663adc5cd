# SPDX-License-Identifier: Apache-2.0
"""Executes the hand-over protocol on this host: messages, states, records."""
