# SPDX-License-Identifier: Apache-2.0
"""The D-Bus face: one class for each interface, without rules."""
