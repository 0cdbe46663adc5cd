# SPDX-License-Identifier: Apache-2.0
"""Which modules packaging/test runs on hosts of which release; packaging/test --full runs all on both."""

from __future__ import annotations

BY_RELEASE = {
    "test_first_boot": "presets, machine ids and users are systemd's",
    "test_free_install": "PackageKit 1.2 and 1.3 answer differently",
    "test_freezing": "systemd 257 keeps books on what is frozen, 252 does not",
    "test_given_back": "units that start when another ends, and purging, are systemd's and dpkg's",
    "test_keep_alive": "what a control group tells, and when",
    "test_launch": "units of users' managers and how they are described",
    "test_logins": "logind's sessions, and what opens them",
    "test_logout": "what logind ends at logout, and what a user's manager leaves",
    "test_mission_kinds": "names and places of units and slices",
    "test_mission_sources": "control groups that desktops and shells make",
    "test_oomd": "systemd-oomd's attributes and interface",
    "test_package": "dpkg, debhelper and upgrades",
    "test_permissions": "polkit 122 has other rules and answers than 126; the whole table",
    "test_restart_ends": "how systemd tells that a service is given up",
    "test_restart_keep_alive": "how systemd starts a service again",
    "test_scores": "who sets oom_score_adj, and when",
    "test_smoke": "that it starts, with the sandbox of its units",
    "test_survival": "restarts of logind, the bus and the service manager; the store of descriptors",
    "test_task_options": "locks on the lid, and what logind takes",
}
"""What differs by Debian release, with the reason: run on hosts of both, and the rest on the newer one."""

AT_LENGTH = {
    "test_old_version": "builds the first version from the history, and upgrades it",
    "test_avahi_faults": "faults of discovery over minutes; tests/host and tests/peers have each by itself",
    "test_continue_mixed": "kills at any moment between two releases; tests/core/handover tries them all",
    "test_faults": "twenty kills of the agent; tests/daemon/test_restart.py has each kind",
    "test_floods": "attacks by the thousand; suites named test_floods and test_shares hold the rules",
    "test_three_hosts": "three hosts for minutes; two are linked every day",
}
"""What is run by packaging/test --full alone, with what proves it meanwhile."""
