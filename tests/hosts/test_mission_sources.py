# SPDX-License-Identifier: Apache-2.0
"""What is a mission on a real host, and what many of them cost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from hosts.client import main_pid, manager
from hosts.machine import MANAGER
from hosts.people import (
    Terminal,
    alices_manager,
    as_unit,
    gone,
    info,
    mission_of,
    missions,
    refused,
    snapshot,
    stop_unit,
    typed,
)
from hosts.signals import Signals

if TYPE_CHECKING:
    from hosts.conftest import BootHost
    from hosts.machine import Host

pytestmark = [pytest.mark.timeout(180, func_only=True), pytest.mark.usefixtures("nothing_of_alices")]

MANY = 1000
SECRET = "very-secret-word"
_STORM = (
    "t=$EPOCHREALTIME; for i in {1..5000}; do sleep 0.001 & done 2>/dev/null; wait; echo $t $EPOCHREALTIME"
)


def test_the_source_of_starts_is_said(host: Host) -> None:
    """No process connector answers in a container; that is no fault, and the service's log says so."""
    assert "programs that start are heard of by inotify" in host.journal("missiond.service")
    degraded = host.busctl("get-property", *MANAGER, f"{MANAGER[0]}.Manager", "Degraded").stdout
    assert degraded.strip() == "as 0"


def test_a_terminal_of_script(host: Host, terminal: Terminal) -> None:
    if host.run(["sh", "-c", "command -v script"], check=False).returncode:
        pytest.skip("no script(1) on this host")
    terminal.type("script -q /dev/null\n")
    outer = mission_of(host, "script")
    terminal.type("sleep 611\n")
    inner = mission_of(host, "sleep")
    assert (inner.uid, inner.pid) != (0, outer.pid)
    assert len(typed(host)) == 2
    terminal.type("\x03")
    gone(host, inner.id)
    terminal.type("exit\n")
    gone(host, outer.id)


def test_another_users_shell_in_a_session(host: Host, terminal: Terminal) -> None:
    """Root with su: neither su nor root's login shell is a mission, but what root's shell runs is alice's."""
    host.run(["sh", "-c", "passwd -d root; install -m 4755 /bin/su /usr/local/bin/su"])
    try:
        terminal.type("su -\n")
        host.wait_for(lambda: host.run(["pgrep", "-x", "su"], check=False).stdout)
        terminal.type("sleep 612\n")
        mission = mission_of(host, "sleep")
        assert mission.uid == 1000
        assert [each.app_id for each in typed(host)] == ["sleep"]
        # root's process is not alice's to end
        assert "201: " in refused(host, "TerminateMission", "u", str(mission.id))
        terminal.type("\x03")
        gone(host, mission.id)
        terminal.type("exit\n")
    finally:
        host.run(["sh", "-c", "passwd -l root; rm /usr/local/bin/su"])


def test_services_that_are_named(boot_host: BootHost) -> None:
    """Only then, and the agent looks at nothing else of the host's."""
    host = boot_host()
    host.wait_active()
    assert missions(host, None) == []
    host.run(["mkdir", "-p", "/etc/missiond/missiond.conf.d"])
    text = "[Missions]\nServices=dbus.service systemd-logind.service none-such.service\n"
    host.run(["tee", "/etc/missiond/missiond.conf.d/50.conf"], stdin=text)
    host.systemctl("restart", "missiond.service")
    found = {each.app_id: each for each in missions(host, None)}
    assert set(found) == {"dbus", "systemd-logind"}
    assert found["systemd-logind"].uid == 0
    assert missions(host, "alice") == []
    assert snapshot(host, found["systemd-logind"].id, user=None)["memory"] > 0
    logind = str(found["systemd-logind"].id)
    assert "201: " in refused(host, "TerminateMission", "u", logind, user=None)


def test_what_missionctl_runs(host: Host) -> None:
    ran = host.spawn(["missionctl", "run", "--title", "My photos", "--", "sleep", "613"], user="alice")
    host.wait_for(lambda: [each.label for each in missions(host)] == ["My photos"])
    [mission] = missions(host)
    assert (mission.pid, mission.app_id) == (ran.pid, "sleep")
    assert info(host, mission.id)["argv"] == ["sleep", "613"]
    assert info(host, mission.id)["want"]["cwd"]["data"]
    ran.signal("KILL")
    gone(host, mission.id)


def test_no_signal_tells_a_command_line(host: Host, terminal: Terminal) -> None:
    """Neither to everybody nor to another user who listens."""
    alices_manager(host)
    signals = Signals(host)
    terminal.type(f"sleep 600 {SECRET}d; sleep 614\n")
    terminal.type(f"cat - {SECRET}.txt\n")
    job = mission_of(host, "sleep")
    as_unit(host, "app-x-1.scope", "sh", "-c", f"sleep 600; : {SECRET}")
    unit = mission_of(host, "x")
    host.wait_for(lambda: SECRET in str(info(host, unit.id)["argv"]))
    host.run(["missionctl", "lock", str(unit.id), str(job.id)], user="alice")
    stop_unit(host, "app-x-1.scope")
    gone(host, unit.id)
    for _ in range(2):
        signals.wait("InterfacesAdded")
    while f"/mission/{unit.id}" not in signals.wait("InterfacesRemoved").body[0]:
        pass
    told = "".join(line for line in signals.lines if '"type":"signal"' in line)
    assert "PropertiesChanged" in told
    assert SECRET not in told
    assert "201: " in refused(host, "GetMissionInfo", "su", "", str(job.id), user="bob")
    objects = host.busctl(
        "call", *MANAGER, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", user="bob"
    ).stdout
    assert SECRET not in objects


def test_a_thousand_jobs(host: Host, terminal: Terminal) -> None:
    terminal.type(f"for i in {{1..{MANY}}}; do sleep 615 & done 2>/dev/null; cat\n")
    host.wait_for(lambda: len(typed(host)) == MANY + 1, 60)
    found = typed(host)
    assert len({each.pid for each in found}) == len({each.id for each in found}) == MANY + 1
    before = {each.pid: each.id for each in found}
    host.systemctl("restart", "missiond.service")
    # a slow host is ready before it has looked at all, and says so
    host.wait_for(lambda: "looked for" not in manager(host, "Degraded"), 30)
    assert {each.pid: each.id for each in typed(host)} == before
    host.run(["pkill", "-u", "alice", "-x", "sleep"])
    host.wait_for(lambda: [each.app_id for each in typed(host)] == ["cat"], 20)


def test_units_that_come_and_go_fast(host: Host) -> None:
    """Control groups change faster than they are read: what is there in the end is what is shown."""
    alices_manager(host)
    program = (
        "run='systemd-run --user --quiet --collect'; "
        "for i in $(seq 120); do $run --unit=quick-$i.service sleep 0.0$((i % 7)); done; "
        "$run --unit=last.service sleep 600"
    )
    host.run(["env", "XDG_RUNTIME_DIR=/run/user/1000", "sh", "-c", program], user="alice", timeout=60)
    last = mission_of(host, "last")
    host.wait_for(lambda: [each.id for each in missions(host)] == [last.id])
    stop_unit(host, "last.service")
    gone(host, last.id)


def test_a_storm_of_programs_loses_nothing_that_still_runs(host: Host, terminal: Terminal) -> None:
    """5000 short programs within some seconds, each a job of its own, and some that stay."""
    pid = main_pid(host, "missiond.service")
    before = _ticks(host, pid)
    staying = "for i in {1..20}; do sleep 616 & done 2>/dev/null; "
    terminal.type(f"{{ {_STORM}; }} >/tmp/storm; {staying}cat\n")
    mission = mission_of(host, "cat", patience=120)
    seen = time.monotonic()
    host.wait_for(lambda: sorted(each.app_id for each in typed(host)) == ["cat"] + ["sleep"] * 20, 5)
    caught_up = time.monotonic() - seen
    spent = (_ticks(host, pid) - before) / 100
    began, ended = map(float, host.run(["cat", "/tmp/storm"]).stdout.split())
    share = spent / (ended - began)
    print(
        f"storm {ended - began:.1f} s, agent {spent:.2f} s = {share:.0%}, caught up {caught_up:.2f} s later"
    )
    pids = host.run(["pgrep", "-u", "alice", "-f", "^sleep 616"]).stdout.split()
    assert {str(each.pid) for each in missions(host) if each.app_id == "sleep"} == set(pids)
    assert share < 0.5
    assert caught_up < 2
    terminal.type("\x03")
    gone(host, mission.id)


def test_watching_goes_on_over_a_restart_and_ends_cleanly(host: Host, terminal: Terminal) -> None:
    watching = host.spawn(["missionctl", "missions", "--watch", "--json"], user="alice")
    assert '"application": "sleep"' not in watching.stdout.readline()
    terminal.type("sleep 617\n")
    assert '"application": "sleep"' in watching.stdout.readline()
    host.systemctl("restart", "missiond.service")
    host.wait_active()
    terminal.type("\x03")
    assert any('"application": "sleep"' not in line for line in iter(watching.stdout.readline, ""))
    watching.signal("INT")
    assert watching.wait() == -2


def _ticks(host: Host, pid: str) -> int:
    fields = host.run(["cat", f"/proc/{pid}/stat"]).stdout.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
