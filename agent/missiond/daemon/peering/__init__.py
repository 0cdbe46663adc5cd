# SPDX-License-Identifier: Apache-2.0
"""The connection to missiond-peers, and the agent's knowledge of other hosts."""
