# SPDX-License-Identifier: Apache-2.0
"""Missions on a real host, through busctl."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hosts.client import main_pid, sleeper
from hosts.machine import MANAGER
from hosts.people import (
    MISSIONS,
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
)
from hosts.signals import Signals

if TYPE_CHECKING:
    from hosts.machine import Host

pytestmark = [pytest.mark.timeout(120, func_only=True), pytest.mark.usefixtures("nothing_of_alices")]


def test_an_application_of_the_users_manager(host: Host) -> None:
    alices_manager(host)
    signals = Signals(host)
    as_unit(host, "app-test-org.example.Editor-17.scope", "sleep", "600")
    mission = mission_of(host, "org.example.Editor")
    assert (mission.uid, mission.state, mission.locked) == (1000, "running", False)
    # systemd-run(1) became that program within its new scope
    host.wait_for(lambda: mission_of(host, "org.example.Editor").label == "sleep")
    added = signals.wait("InterfacesAdded")
    assert f"/mission/{mission.id}" in added.body[0]
    assert "600" not in str(added.body[1].get("argv", ""))
    assert set(added.body[1]["org.missiond.Agent1.Mission"]) == {
        "Id", "AppId", "Pid", "Uid", "RunningState", "Locked", "Continuable", "Tag", "Started",
    }  # fmt: skip
    about = info(host, mission.id)
    assert about["argv"][0].endswith("sleep")
    assert about["argv"][1:] == ["600"]
    assert about["unit"] == "app-test-org.example.Editor-17.scope"
    assert about["cgroup"].endswith("/app-test-org.example.Editor-17.scope")
    assert missions(host, "bob") == []
    assert "201: " in refused(host, "GetMissionInfo", "su", "", str(mission.id), user="bob")
    assert "201: " in refused(host, "LockMission", "u", str(mission.id), user="bob")
    assert mission.id in [each.id for each in missions(host, None)]
    stop_unit(host, "app-test-org.example.Editor-17.scope")
    gone(host, mission.id)
    signals.wait("InterfacesRemoved")
    assert "16300502: " in refused(host, "GetMissionInfo", "su", "", str(mission.id))


def test_transient_units_are_missions_and_the_hosts_own_services_are_not(host: Host) -> None:
    alices_manager(host)
    as_unit(host, "render.service", "sleep", "600")
    mission = mission_of(host, "render")
    host.wait_for(lambda: mission_of(host, "render").label == "sleep")
    host.run(["systemd-run", "--quiet", "--collect", "--unit=daemon.service", "--uid=alice", "sleep", "600"])
    main_pid(host, "daemon.service")
    assert [each.app_id for each in missions(host, None)] == ["render"]
    host.systemctl("stop", "daemon.service")
    stop_unit(host, "render.service")
    gone(host, mission.id)


def test_jobs_of_a_shell(host: Host, terminal: Terminal) -> None:
    terminal.type("sleep 601\n")
    mission = mission_of(host, "sleep")
    assert mission.uid == 1000
    assert info(host, mission.id)["session"]
    assert "bash" not in [each.app_id for each in missions(host)]
    terminal.type("\x03")
    gone(host, mission.id)
    terminal.type("sleep 602 | cat | tail\n")
    pipeline = mission_of(host, "sleep")
    assert snapshot(host, pipeline.id)["children"] == 2
    host.run(["kill", "-KILL", str(pipeline.pid)])
    gone(host, pipeline.id)
    terminal.type("cat & sleep 603\n")
    assert mission_of(host, "cat").id != mission_of(host, "sleep").id


def test_what_outlives_its_leader_goes_on(host: Host, terminal: Terminal) -> None:
    terminal.type("sleep 1 | sleep 604\n")
    host.wait_for(lambda: len([each for each in missions(host) if each.app_id == "sleep"]) == 1)
    first = mission_of(host, "sleep")
    host.wait_for(lambda: mission_of(host, "sleep").pid != first.pid)
    assert mission_of(host, "sleep").id == first.id


def test_ids_and_locks_outlive_the_daemon(host: Host, terminal: Terminal) -> None:
    alices_manager(host)
    terminal.type("sleep 605\n")
    job = mission_of(host, "sleep")
    as_unit(host, "render.service", "sleep", "600")
    unit = mission_of(host, "render")
    owner = sleeper(host)
    (registered,) = host.call(
        *MANAGER, MISSIONS, "RegisterMission", "a{sv}", "3", "pid", "u", str(owner.pid),
        "label", "s", "My work", "tag", "i", "7", user="alice",
    )  # fmt: skip
    host.call(*MANAGER, MISSIONS, "LockMission", "u", str(job.id), user="alice")
    host.systemctl("restart", "missiond.service")
    assert mission_of(host, "render").id == unit.id
    by_id = {each.id: each for each in missions(host)}
    assert by_id[job.id].pid == job.pid
    assert by_id[job.id].locked
    assert (by_id[registered].label, by_id[registered].tag) == ("My work", 7)
    host.run(["kill", "-KILL", main_pid(host, "missiond.service")])
    stop_unit(host, "render.service")
    host.wait_active()
    host.wait_for(
        lambda: (
            host.busctl("call", *MANAGER, "org.freedesktop.DBus.Peer", "Ping", check=False).returncode == 0
        )
    )
    assert {job.id, registered} <= {each.id for each in missions(host)}
    assert unit.id not in {each.id for each in missions(host)}
    owner.signal("KILL")
    gone(host, registered)
    another = sleeper(host)
    (number,) = host.call(
        *MANAGER, MISSIONS, "RegisterMission", "a{sv}", "1", "pid", "u", str(another.pid), user="alice"
    )
    assert number > max(by_id)
    host.call(*MANAGER, MISSIONS, "UnregisterMission", "u", str(number), user="alice")
    gone(host, number)
    another.signal("KILL")


def test_the_processor_time_of_all_its_processes(host: Host) -> None:
    alices_manager(host)
    as_unit(host, "busy.service", "sh", "-c", "while :; do :; done & sleep 600")
    mission = mission_of(host, "busy")
    snapshot(host, mission.id)
    host.wait_for(lambda: snapshot(host, mission.id)["cpu"] > 5)
    seen = snapshot(host, mission.id)
    assert seen["children"] == 2
    assert seen["memory"] > 0
    stop_unit(host, "busy.service")
    gone(host, mission.id)


def test_frozen_units_say_so(host: Host) -> None:
    alices_manager(host)
    as_unit(host, "cold.service", "sleep", "600")
    mission = mission_of(host, "cold")
    cgroup = "/sys/fs/cgroup" + info(host, mission.id)["cgroup"]
    host.run(["tee", f"{cgroup}/cgroup.freeze"], stdin="1")
    host.wait_for(lambda: mission_of(host, "cold").state == "frozen")
    assert snapshot(host, mission.id)["state"] == "frozen"
    host.run(["tee", f"{cgroup}/cgroup.freeze"], stdin="0")
    host.wait_for(lambda: mission_of(host, "cold").state == "running")
    stop_unit(host, "cold.service")
    gone(host, mission.id)


def test_labels_come_from_desktop_files_and_bad_ones_do_no_harm(host: Host) -> None:
    alices_manager(host)
    directory = "/usr/local/share/applications"
    host.run(["mkdir", "-p", directory])
    host.run(["tee", f"{directory}/good.desktop"], stdin="[Desktop Entry]\nName=Good\x1b Work\nIcon=good\n")
    host.run(["mkfifo", f"{directory}/fifo.desktop"])
    host.run(["ln", "-s", "loop.desktop", f"{directory}/loop.desktop"])
    host.run(["truncate", "--size=1G", f"{directory}/huge.desktop"])
    host.run(["tee", f"{directory}/broken.desktop"], stdin="Name=x\n[[[\x00\n")
    for name, label in {
        "good": "Good  Work", "fifo": "sleep", "loop": "sleep", "huge": "sleep", "broken": "sleep",
    }.items():  # fmt: skip
        as_unit(host, f"app-{name}-1.scope", "sleep", "600")
        mission = mission_of(host, name)
        host.wait_for(lambda: mission_of(host, name).label == label)  # noqa: B023
        assert mission_of(host, name).icon == ("good" if name == "good" else "")
        stop_unit(host, f"app-{name}-1.scope")
        gone(host, mission.id)
    host.run(["rm", "-r", directory])


def test_bad_input_has_its_error(host: Host) -> None:
    for member in ("RegisterMissionListener", "UnregisterMissionListener"):
        assert "16300501: " in refused(host, member, "s", "0" * 64)
        for device in ("0" * 63, "0" * 65, "A" * 64, " ", "../../etc"):
            assert "401: " in refused(host, member, "s", device)
        host.call(*MANAGER, MISSIONS, member, "s", "", user="alice")
    assert "16300501: " in refused(host, "GetMissionInfos", "su", "f" * 64, "1")
    assert "401: " in refused(host, "GetMissionInfos", "su", "", "0")
    for member in ("GetMissionInfo", "GetMissionSnapshot"):
        assert "401: " in refused(host, member, "su", "", "0")
        assert "16300502: " in refused(host, member, "su", "", str(2**32 - 1))
    for member in ("LockMission", "UnlockMission", "UnregisterMission"):
        assert "401: " in refused(host, member, "u", "0")
        assert "16300502: " in refused(host, member, "u", str(2**32 - 1))
    register = ("RegisterMission", "a{sv}", "1")
    assert "201: " in refused(host, *register, "pid", "u", "1")
    assert "401: " in refused(host, *register, "pid", "u", "0")
    assert "9900001: " in refused(host, *register, "pid", "u", "4194303")
    assert "401: " in refused(host, *register, "nonsense", "u", "1")
    assert "401: " in refused(host, *register, "label", "s", "x" * 5000)
    assert missions(host) == []


def test_missionctl_lists_watches_and_locks(host: Host, terminal: Terminal) -> None:
    terminal.type("sleep 606\n")
    mission = mission_of(host, "sleep")
    watching = host.spawn(["missionctl", "missions", "--watch", "--json"], user="alice")
    assert f'"mission": {mission.id}' in watching.stdout.readline()
    host.run(["missionctl", "lock", str(mission.id)], user="alice")
    assert '"locked": true' in watching.stdout.readline()
    listed = host.run(["missionctl", "missions"], user="alice").stdout
    assert "running, locked" in listed
    assert listed.splitlines()[0].split()[0] == "MISSION"
    assert "Processes:  1" in host.run(["missionctl", "snapshot", str(mission.id)], user="alice").stdout
    host.run(["missionctl", "unlock", str(mission.id)], user="alice")
    assert '"locked": false' in watching.stdout.readline()
    terminal.type("\x03")
    lines = iter(watching.stdout.readline, "")
    assert any(f'"mission": {mission.id},' not in line for line in lines)
    assert host.run(["missionctl", "lock", str(mission.id)], user="alice", check=False).returncode == 5
    watching.signal("KILL")
