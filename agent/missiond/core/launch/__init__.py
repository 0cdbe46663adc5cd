# SPDX-License-Identifier: Apache-2.0
"""The needs of a mission for a new start, here or on another host."""
