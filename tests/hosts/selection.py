# SPDX-License-Identifier: Apache-2.0
"""Which modules packaging/test runs on hosts of which release; packaging/test --full runs all on both."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

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

THE_SAME = {
    "test_from_the_word_to_running": "it compares two ways on one host",
    "test_nobody_asked_for_it": "PackageKit is not asked",
    "test_nobody_allowed_it": "PackageKit is not asked",
    "test_at_the_prompt": "what missionctl shows",
    "test_fetched": "the other direction of test_installed_and_continued",
    "test_an_installation_that_takes_too_long": "the agent's own patience",
    "test_a_packagekit_that_hangs": "the agent's own patience",
    "test_a_packagekit_that_dies": "the bus says so",
    "test_a_thousand_jobs": "how much the agent bears",
    "test_a_storm_of_programs_loses_nothing_that_still_runs": "how much the agent bears",
    "test_watching_goes_on_over_a_restart_and_ends_cleanly": "missionctl alone",
    "test_an_agent_that_was_away_finds_it": "how a service ends and starts again is in the others",
    "test_a_manager_that_gives_no_answer_delays_nobody_else": "the agent's own patience",
    "test_who_freezes_in_a_loop_costs_little": "the agent's own pauses",
    "test_the_helper_ends_when_idle": "the helper's own patience",
    "test_a_helper_that_hangs_is_said_and_made_good": "the agent's own patience",
    "test_logind_that_hangs_holds_nobody_up": "the agent's own patience",
    "test_an_owner_that_died_meanwhile_is_noticed": "the kernel says so",
    "test_a_deadline_that_passed_meanwhile": "the agent's own clock",
    "test_a_bad_value_keeps_the_old_one": "the configuration's own rules",
    "test_a_task_ends_by_itself_also_after_a_restart": "the agent's own clock",
    "test_texts_are_their_users_own": "the agent's own rules",
    "test_wants_are_checked_and_the_own_users": "the agent's own rules",
    "test_counts_are_told": "the agent's own rules",
}
"""Of these modules, tests that show the same on each release, with the reason."""

AT_LENGTH = {
    "test_old_version": "builds the first version from the history, and upgrades it",
    "test_avahi_faults": "faults of discovery over minutes; tests/host and tests/peers have each by itself",
    "test_continue_mixed": "kills at any moment between two releases; tests/core/handover tries them all",
    "test_faults": "twenty kills of the agent; tests/daemon/test_restart.py has each kind",
    "test_floods": "attacks by the thousand; suites named test_floods and test_shares hold the rules",
    "test_three_hosts": "three hosts for minutes; two are linked every day",
}
"""What is run by packaging/test --full alone, with what proves it meanwhile."""

LONGEST = (
    "test_continue",
    "test_free_install",
    "test_package",
    "test_given_back",
    "test_battery",
    "test_continue_logins",
    "test_freezing",
    "test_survival",
    "test_command_line",
    "test_keep_alive",
    "test_logins",
    "test_carrying",
)
"""What takes longest, longest first: run before the rest, so that those who share the work end together."""


def marked(
    items: list[pytest.Item], folder: Path, layer: str, seconds: float, missing: str | None
) -> Iterator[pytest.Item]:
    """Mark the items of a folder as a layer's, with so long for each; yield them for more.

    Where what they need is `missing` they are skipped, but not in CI.
    """
    for item in items:
        if folder not in item.path.parents:
            continue
        item.add_marker(layer)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(seconds, func_only=True))
        if missing is not None and os.environ.get("CI") != "true":
            item.add_marker(pytest.mark.skip(reason=missing))
        yield item
