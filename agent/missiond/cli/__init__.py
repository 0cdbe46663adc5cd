# SPDX-License-Identifier: Apache-2.0
"""missionctl: the agent for people and shell scripts."""
