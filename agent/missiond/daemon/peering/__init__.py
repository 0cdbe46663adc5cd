# SPDX-License-Identifier: Apache-2.0
"""The connection to missiond-peers and what the agent knows of other hosts."""
