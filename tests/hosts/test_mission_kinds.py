# SPDX-License-Identifier: Apache-2.0
"""Whose programs are missions on a real host, and what is one program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from hosts.people import (
    Mission,
    Terminal,
    alices_manager,
    as_unit,
    gone,
    info,
    mission_of,
    missions,
    snapshot,
    stop_unit,
    terminate,
)
from standins.programs.headless import PROGRAM as HEADLESS

if TYPE_CHECKING:
    from hosts.machine import Host

pytestmark = [pytest.mark.timeout(120, func_only=True), pytest.mark.usefixtures("nothing_of_alices")]


USER = ["env", "XDG_RUNTIME_DIR=/run/user/1000", "DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus"]
FILES = "org.example.Files"
COMPOSITOR = """
[Service]
ExecStart=sh -c 'setsid sleep 641 & setsid tail -f /dev/null & sleep 648 & exec sleep 642'
"""
BUS = """
[Service]
ExecStart=/usr/bin/dbus-daemon --session --address=unix:path=%t/bus --nofork --nopidfile
"""
ACTIVATED = """#!/usr/bin/python3
import asyncio, sys
from dbus_next.aio import MessageBus
async def main():
    bus = await MessageBus().connect()
    await bus.request_name(sys.argv[1])
    await asyncio.sleep(600)
asyncio.run(main())
"""
TABS = """
group=$(sed -n 's/^0:://p' /proc/self/cgroup)
for mount in /sys/fs/cgroup/unified /sys/fs/cgroup; do
    ! [ -d "$mount$group" ] || break
done
mkdir "$mount$group/main.scope" "$mount$group/tab(500).scope"
sleep 643 &
echo $! >"$mount$group/tab(500).scope/cgroup.procs"
echo $$ >"$mount$group/main.scope/cgroup.procs"
exec sleep 644
"""
SNAP = "snap.thunderbird.thunderbird-3b3d3e3e-1c1c-4d4d-9e9e-0a0b0c0d0e0f.scope"


@pytest.fixture
def eve(host: Host, request: pytest.FixtureRequest) -> Iterator[int]:
    """A user as a directory has them, with the uid that the test is given."""
    host.run(["useradd", "--no-log-init", "--create-home", "--uid", str(request.param), "eve"])
    yield request.param
    host.run(["loginctl", "terminate-user", "eve"], check=False)
    host.wait_for(lambda: host.run(["pgrep", "-u", "eve"], check=False).returncode == 1)
    host.run(["userdel", "--remove", "eve"])


@pytest.mark.parametrize("eve", [524_300, 1_863_000_005], indirect=True)
def test_users_of_directories_have_missions(host: Host, eve: int) -> None:
    host.systemd_run("eves.service", ["sleep", "620"], user="eve", session=True)
    mission = mission_of(host, "sleep", "eve")
    assert (mission.uid, mission.label) == (eve, "sleep")
    assert missions(host) == []
    terminate(host, mission.id, "eve")
    gone(host, mission.id)


def _wait_headless(host: Host, pid: int) -> None:
    host.wait_for(lambda: ") Z " in host.run(["cat", f"/proc/{pid}/stat"], check=False).stdout)


def test_a_program_whose_first_thread_has_ended(host: Host, terminal: Terminal) -> None:
    """A unit and a job: listed, measured, and ended when asked to."""
    host.run(["install", "-m", "755", "/usr/bin/python3", "/usr/local/bin/worker"])
    host.run(["tee", "/usr/local/bin/worker.py"], stdin=HEADLESS)
    alices_manager(host)
    as_unit(host, "app-x-org.example.Worker-7.scope", "/usr/local/bin/worker", "/usr/local/bin/worker.py")
    terminal.type("/usr/local/bin/worker /usr/local/bin/worker.py\n")
    for app_id in ("org.example.Worker", "worker"):
        mission = mission_of(host, app_id)
        _wait_headless(host, mission.pid)
        assert mission_of(host, app_id)[:5] == (mission.id, "worker", "", app_id, mission.pid)
        assert info(host, mission.id)["argv"] == ["/usr/local/bin/worker", "/usr/local/bin/worker.py"]
        used = snapshot(host, mission.id)
        assert used["memory"] > 1_000_000
        assert (used["state"], used["threads"]) == ("sleeping", 2)
        terminate(host, mission.id)
        gone(host, mission.id)
        assert host.run(["cat", f"/proc/{mission.pid}/stat"], check=False).returncode != 0


def test_nothing_is_told_of_before_it_runs(host: Host) -> None:
    """systemd forks itself first, whatever it calls that."""
    alices_manager(host)
    seen: set[tuple[str, ...]] = set()
    for number in range(6):
        unit = f"app-test-org.example.Quick-{number}.service"
        as_unit(host, unit, "sleep", str(630 + number))
        for mission in missions(host):
            seen.add((mission.label, *info(host, mission.id)["argv"]))
        host.wait_for(lambda: missions(host))
        [mission] = missions(host)
        terminate(host, mission.id)
        gone(host, mission.id)
    assert {label for label, *_ in seen} <= {"sleep"}
    assert {argv[0] for _, *argv in seen} <= {"/usr/bin/sleep"}


def _applications(host: Host, *pids: int) -> list[str]:
    """What tasks of these processes are counted for."""
    for pid in pids:
        options = ("pid", "u", str(pid), "context", "s", f"of {pid}")
        host.tasks("StartBackgroundRunning", "asa{sv}", "1", "taskKeeping", "2", *options, user="alice")
    (tasks,) = host.tasks("GetAllContinuousTasks", "b", "true", user="alice")
    found = {task["pid"]["data"]: task["app-id"]["data"] for task in tasks}
    for task in tasks:
        host.tasks("CancelContinuousTask", "u", str(task["continuous-task-id"]["data"]), user="alice")
    return [found[pid] for pid in pids]


def _pid(host: Host, *command: str) -> int:
    """Wait for the one process of this command line."""
    line = " ".join(command)
    host.wait_for(lambda: host.run(["pgrep", "-xf", line], check=False).stdout.count("\n") == 1)
    return int(host.run(["pgrep", "-xf", line]).stdout)


def _listed(host: Host, *labels: str) -> list[Mission]:
    host.wait_for(lambda: sorted(each.label for each in missions(host)) == sorted(labels))
    return sorted(missions(host), key=lambda mission: mission.label)


def test_what_a_compositor_that_is_a_service_starts(host: Host) -> None:
    """One by one, each with limits of its own; what is of the compositor's session is the compositor's."""
    alices_manager(host)
    host.run(["mkdir", "-p", "/usr/lib/systemd/user"])
    host.run(["tee", "/usr/lib/systemd/user/wayland-wm@.service"], stdin=COMPOSITOR)
    unit = "wayland-wm@hyprland.desktop.service"
    host.run([*USER, "systemctl", "--user", "start", unit], user="alice")
    sleep, tail = _listed(host, "sleep", "tail")
    assert (sleep.app_id, tail.app_id) == ("sleep", "tail")
    wm = _pid(host, "sleep", "642")
    assert _applications(host, wm, sleep.pid, tail.pid) == ["wayland-wm", "sleep", "tail"]
    terminate(host, tail.id)
    gone(host, tail.id)
    _listed(host, "sleep")
    stop_unit(host, unit)
    _listed(host)


def test_what_a_bus_starts(host: Host) -> None:
    """An application is listed by its name, in the service of dbus-daemon and in one of the broker's."""
    alices_manager(host)
    host.run(["tee", "/usr/lib/systemd/user/test-bus.service"], stdin=BUS)
    for name in (FILES, "org.example.Daemon"):
        program = f"/usr/local/bin/{name}"
        host.run(["tee", program], stdin=ACTIVATED)
        host.run(["chmod", "755", program])
        service = f"[D-BUS Service]\nName={name}\nExec={program} {name}\n"
        host.run(["tee", f"/usr/share/dbus-1/services/{name}.service"], stdin=service)
    host.run(["mkdir", "-p", "/usr/share/applications"])
    entry = "[Desktop Entry]\nType=Application\nName=My Files\nIcon=files\nDBusActivatable=true\nExec=x\n"
    host.run(["tee", f"/usr/share/applications/{FILES}.desktop"], stdin=entry)
    host.run([*USER, "systemctl", "--user", "start", "test-bus.service"], user="alice")
    host.wait_for(lambda: host.run(["test", "-S", "/run/user/1000/bus"], check=False).returncode == 0)
    call = ["busctl", "--user", "call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus"]
    for name in (FILES, "org.example.Daemon"):
        host.run([*USER, *call, "StartServiceByName", "su", name, "0"], user="alice")
    [files] = _listed(host, "My Files")
    assert (files.app_id, files.icon) == (FILES, "files")
    daemon = _pid(host, "/usr/bin/python3", "/usr/local/bin/org.example.Daemon", "org.example.Daemon")
    assert _applications(host, files.pid, daemon) == [FILES, "org.example.Dae"]
    terminate(host, files.id)
    gone(host, files.id)
    stop_unit(host, "test-bus.service")
    as_unit(host, f"dbus-:1.2-{FILES}@0.service", "sleep", "645")
    as_unit(host, "dbus-:1.2-org.example.Daemon@0.service", "sleep", "646")
    [files] = _listed(host, "My Files")
    assert files.app_id == FILES
    stop_unit(host, f"dbus-:1.2-{FILES}@0.service")
    stop_unit(host, "dbus-:1.2-org.example.Daemon@0.service")


def test_groups_within_a_scope_and_snaps(host: Host) -> None:
    alices_manager(host)
    run = [*USER, "systemd-run", "--user", "--scope", "--quiet", "--property=Delegate=yes"]
    host.spawn([*run, "--unit=app-org.kde.konsole-41769.scope", "sh", "-c", TABS], user="alice")
    terminal, tab = _pid(host, "sleep", "644"), _pid(host, "sleep", "643")
    assert [each.app_id for each in _listed(host, "sleep")] == ["org.kde.konsole"]
    assert _applications(host, terminal, tab) == ["org.kde.konsole"] * 2
    stop_unit(host, "app-org.kde.konsole-41769.scope")
    host.run(["mkdir", "-p", "/var/lib/snapd/desktop/applications"])
    entry = "[Desktop Entry]\nName=Thunderbird Mail\nIcon=/snap/thunderbird/icon.png\n"
    host.run(
        ["tee", "/var/lib/snapd/desktop/applications/thunderbird_thunderbird.desktop"],
        stdin="\ufeff" + entry,
    )
    as_unit(host, SNAP, "sleep", "647")
    [mail] = _listed(host, "Thunderbird Mail")
    assert (mail.app_id, mail.icon) == ("thunderbird_thunderbird", "/snap/thunderbird/icon.png")
    assert _applications(host, mail.pid) == ["thunderbird_thunderbird"]
    stop_unit(host, SNAP)
