# SPDX-License-Identifier: Apache-2.0
"""The configuration: what can be set, where it is read from, and what was wrong with it."""
