# SPDX-License-Identifier: Apache-2.0
"""`missiond --give-back`: undoes what the agent did to the host, without the agent."""
