# SPDX-License-Identifier: Apache-2.0
"""missiond-helper: the few requests in need of privilege, each checked here again.

Nothing of the agent is imported but `missiond.host.processes.procfs`, so that there is little to review, and
it starts quickly.
"""
