# SPDX-License-Identifier: Apache-2.0
"""The D-Bus face: one shell for each interface, no rules of its own."""
