# SPDX-License-Identifier: Apache-2.0
"""missiond-helper: the few things that need privilege, each checked here, whatever the agent says.

Nothing of the agent is imported but `missiond.host.processes.procfs`, so that there is little to review, and
it starts quickly.
"""
