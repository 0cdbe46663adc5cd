# SPDX-License-Identifier: Apache-2.0
"""`missiond --give-back`: undo of all changes to the host, without the agent."""
