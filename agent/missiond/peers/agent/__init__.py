# SPDX-License-Identifier: Apache-2.0
"""The talk between the peer unit and the agent."""
