# SPDX-License-Identifier: Apache-2.0
"""Missions are ended: all of them that has to, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hosts.client import configure, main_pid, sleeper
from hosts.machine import MANAGER
from hosts.people import (
    MISSIONS,
    Terminal,
    alices_manager,
    as_unit,
    gone,
    info,
    mission_of,
    refused,
    terminate,
    typed,
)

if TYPE_CHECKING:
    from hosts.machine import Host

pytestmark = [pytest.mark.timeout(120, func_only=True), pytest.mark.usefixtures("nothing_of_alices")]

STUBBORN = "trap '' TERM; sleep 600 & sleep 601 & wait; wait; wait"
RULE = """
polkit.addRule(function(action, subject) {
    if (action.id == "org.missiond.Agent1.manage-others" && subject.user == "bob") return polkit.Result.YES;
});
"""
RULES = "/etc/polkit-1/rules.d/10-test.rules"


@pytest.fixture(autouse=True, scope="module")
def quick(host: Host) -> None:
    """A grace time that tests can wait for."""
    configure(host, "[Missions]\nTerminateGrace=1s\n")


def register(host: Host, pid: int, user: str | None = "alice") -> int:
    (number,) = host.call(
        *MANAGER, MISSIONS, "RegisterMission", "a{sv}", "1", "pid", "u", str(pid), user=user
    )
    return int(number)


def alive(host: Host, pid: int) -> bool:
    stat = host.run(["cat", f"/proc/{pid}/stat"], check=False).stdout
    return bool(stat) and stat.rpartition(") ")[2][0] != "Z"


def test_a_unit_ends_with_all_that_is_in_it(host: Host) -> None:
    alices_manager(host)
    as_unit(host, "app-x-1.scope", "sh", "-c", STUBBORN)
    mission = mission_of(host, "x")
    cgroup = f"/sys/fs/cgroup{info(host, mission.id)['cgroup']}/cgroup.procs"
    host.wait_for(lambda: len(host.run(["cat", cgroup]).stdout.split()) == 3)
    terminate(host, mission.id)
    # both children heard the SIGTERM, the shell did not: it is killed with what it has started since
    gone(host, mission.id)
    as_unit(host, "app-y-1.scope", "sleep", "600")
    mission = mission_of(host, "y")
    host.wait_for(lambda: mission_of(host, "y").label == "sleep")
    terminate(host, mission.id)
    gone(host, mission.id)
    assert "SIGKILL" not in _last(host)


def _last(host: Host) -> str:
    return host.journal("missiond.service").strip().splitlines()[-1]


def test_a_frozen_unit_and_a_stopped_job(host: Host, terminal: Terminal) -> None:
    alices_manager(host)
    as_unit(host, "app-cold-1.scope", "sleep", "600")
    mission = mission_of(host, "cold")
    host.wait_for(lambda: mission_of(host, "cold").label == "sleep")
    host.run(["tee", f"/sys/fs/cgroup{info(host, mission.id)['cgroup']}/cgroup.freeze"], stdin="1")
    host.wait_for(lambda: mission_of(host, "cold").state == "frozen")
    terminate(host, mission.id)
    gone(host, mission.id)
    terminal.type("sleep 602\n")
    job = mission_of(host, "sleep")
    terminal.type("\x1a")
    host.wait_for(lambda: " T " in host.run(["cat", f"/proc/{job.pid}/stat"]).stdout)
    terminate(host, job.id)
    gone(host, job.id)


def test_a_job_ends_and_its_shell_stays(host: Host, terminal: Terminal) -> None:
    terminal.type("sleep 603 | cat | tail &\n")
    other = "sleep 604"
    terminal.type(f"sh -c 'exec {other}' &\n")
    host.wait_for(lambda: len(typed(host)) == 2)
    pipeline = next(each for each in typed(host) if info(host, each.id)["argv"] == ["sleep", "603"])
    terminate(host, pipeline.id)
    gone(host, pipeline.id)
    [left] = typed(host)
    assert info(host, left.id)["argv"] == other.split()
    terminal.type("cat\n")
    assert mission_of(host, "cat").id > left.id


def test_what_is_forked_in_the_grace_time_dies_as_well(host: Host, terminal: Terminal) -> None:
    program = "set +m; trap 'tail -f /dev/null &' TERM; cat /dev/zero >/dev/null & wait; wait; wait"
    host.run(["tee", "/tmp/forking"], stdin=program)
    terminal.type("bash /tmp/forking\n")
    mission = mission_of(host, "bash")
    host.wait_for(lambda: host.run(["pgrep", "-u", "alice", "cat"], check=False).stdout)
    terminate(host, mission.id)
    gone(host, mission.id)
    assert host.run(["pgrep", "-u", "alice", "tail|cat"], check=False).stdout == ""


def test_a_lock_refuses_it_and_spares_what_is_left(host: Host, terminal: Terminal) -> None:
    host.run(["tee", "/tmp/stubborn"], stdin="trap '' TERM; while :; do read -t 600 <> <(:); done")
    terminal.type("bash /tmp/stubborn\n")
    mission = mission_of(host, "bash")
    host.run(["missionctl", "lock", str(mission.id)], user="alice")
    assert "201: mission" in refused(host, "TerminateMission", "u", str(mission.id))
    assert host.run(["missionctl", "terminate", str(mission.id)], user="alice", check=False).returncode == 4
    # all within the grace time
    verbs = ("UnlockMission", "TerminateMission", "LockMission")
    calls = [f"busctl call {' '.join(MANAGER)} {MISSIONS} {verb} u {mission.id}" for verb in verbs]
    host.run(["sh", "-ec", "; ".join(calls)], user="alice")
    host.run(["sleep", "1.5"])  # longer than the grace time
    assert alive(host, mission.pid)
    host.run(["missionctl", "unlock", str(mission.id)], user="alice")
    terminate(host, mission.id)
    host.systemctl("kill", "--signal=KILL", "missiond.service")
    # the next run goes on with it
    host.wait_for(lambda: not alive(host, mission.pid), 10)


def test_what_must_not_end(host: Host) -> None:
    """Pid 1, the agent, services, of root's own register; other users' missions; ids of nobody."""
    agent, cron = int(main_pid(host, "missiond.service")), int(main_pid(host, "systemd-logind.service"))
    pids = {1: "init.scope", agent: "missiond.service", cron: "systemd-logind.service"}
    for pid, unit in pids.items():
        number = register(host, pid, user=None)
        assert f"201: mission {number} is {unit}" in refused(
            host, "TerminateMission", "u", str(number), user=None
        )
        host.call(*MANAGER, MISSIONS, "UnregisterMission", "u", str(number))
        assert "16300502: " in refused(host, "TerminateMission", "u", str(number), user=None)
    mine = sleeper(host)
    number = register(host, mine.pid)
    assert "201: " in refused(host, "TerminateMission", "u", str(number), user="bob")
    roots = sleeper(host, user=None)
    foreign = register(host, roots.pid, user=None)
    assert "201: " in refused(host, "TerminateMission", "u", str(foreign), user=None)
    assert alive(host, mine.pid)
    assert alive(host, roots.pid)
    terminate(host, number, user=None)
    gone(host, number)
    roots.signal("KILL")
    gone(host, foreign)
    assert "401: " in refused(host, "TerminateMission", "u", "0")
    assert "16300502: " in refused(host, "TerminateMission", "u", str(2**32 - 1))


def test_others_missions_where_a_rule_says_so(host: Host) -> None:
    owner = sleeper(host)
    number = register(host, owner.pid)
    assert "201: " in refused(host, "GetMissionInfo", "su", "", str(number), user="bob")
    host.run(["sh", "-c", f"cat >{RULES}.new && chmod 644 {RULES}.new && mv {RULES}.new {RULES}"], stdin=RULE)
    try:
        # polkit reads its rules again by itself
        host.wait_for(
            lambda: host.busctl(
                "call", *MANAGER, MISSIONS, "GetMissionInfo", "su", "", str(number), user="bob", check=False
            ).returncode == 0
        )  # fmt: skip
        # a list shows those of others only to who asks for them
        assert (
            host.run(["missionctl", "missions"], user="bob").stdout
            == "No missions of yours; of others: --all\n"
        )
        listed = host.run(["missionctl", "missions", "--all", "--json"], user="bob").stdout
        assert f'"mission": {number}' in listed
        terminate(host, number, user="bob")
        gone(host, number)
        assert owner.wait() == -15
    finally:
        host.run(["rm", RULES])
    other = sleeper(host)
    number = register(host, other.pid)
    host.wait_for(lambda: _denied(host, number))
    other.signal("KILL")
    gone(host, number)


def _denied(host: Host, number: int) -> bool:
    arguments = ("GetMissionSnapshot", "su", "", str(number))
    return "201: " in host.busctl("call", *MANAGER, MISSIONS, *arguments, user="bob", check=False).stderr


def test_without_the_helper_it_is_said(host: Host) -> None:
    owner = sleeper(host)
    number = register(host, owner.pid)
    host.systemctl("stop", "missiond-helper.socket", "missiond-helper.service")
    try:
        assert "9800004: missiond-helper" in refused(host, "TerminateMission", "u", str(number))
        assert alive(host, owner.pid)
    finally:
        host.systemctl("start", "missiond-helper.socket")
    terminate(host, number)
    gone(host, number)
