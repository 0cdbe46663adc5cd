# SPDX-License-Identifier: Apache-2.0
"""Each job of a login is one mission, and nothing else is: with the real sshd, tmux, screen, su and sudo."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts.client import configure
from hosts.logins import BOB, Job, Ssh, Watching, open_door, pids
from hosts.machine import Host
from hosts.people import alices_manager, gone, info, missions, refused, snapshot, terminate
from hosts.trees import tree

pytestmark = pytest.mark.timeout(90, func_only=True)

SUDOERS = "alice ALL=(ALL:ALL) NOPASSWD: ALL\n"
SCRIPT = "echo begun\nsleep 721\necho over\n"


@pytest.fixture(scope="module")
def door(suite: str, deb: Path) -> Iterator[Host]:
    """A host that people log in to by ssh."""
    with Host(tree("kit", suite, deb)) as host:
        host.wait_active()
        open_door(host)
        alices_manager(host)
        configure(host, "[Missions]\nTerminateGrace=2s\n")
        host.run(["rm", "/home/bob/.bash_logout"])  # what it runs is a job as well
        host.run(["touch", "/home/alice/.zshrc"])  # else zsh asks its new user what to write there
        host.run(["tee", "/home/alice/.screenrc"], stdin="startup_message off\n")
        host.run(["tee", "/etc/sudoers.d/test"], stdin=SUDOERS)
        host.run(["passwd", "--delete", "bob"])
        yield host


@pytest.fixture
def watching(door: Host) -> Iterator[Watching]:
    """Who follows the missions; afterwards nobody is logged in."""
    started = Watching(door)
    yield started
    door.systemctl("kill", "--signal=KILL", "session-*.scope", check=False)
    door.run(["pkill", "-KILL", "-u", "alice,bob", "^(sleep|bash|tmux.*)$"], check=False)
    door.end_spawned()
    door.wait_for(lambda: missions(door, None) == [])
    assert "Traceback" not in door.journal("missiond.service")
    assert started.ever <= started.allowed


@contextlib.contextmanager
def shell_of_alice(host: Host, shell: str) -> Iterator[None]:
    """Have alice log in to another shell."""
    host.run(["usermod", "--shell", shell, "alice"])
    yield
    host.run(["usermod", "--shell", "/bin/bash", "alice"])


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/dash", "/bin/zsh"])
def test_jobs_of_a_login_shell(door: Host, watching: Watching, shell: str) -> None:
    with shell_of_alice(door, shell):
        login = Ssh(door, terminal=True)
    login.type("sleep 701 &\n")
    login.type("sleep 702 | cat | tail &\n")
    login.type("nohup sleep 703 >/dev/null 2>&1 &\n")
    login.type("setsid sleep 704 &\n")
    login.type("sleep 705\n")
    jobs = [f"sleep {number}" for number in range(701, 706)]
    found = watching.expect(*jobs)
    assert snapshot(door, found[1].id)["children"] == 2
    assert info(door, found[0].id)["session"]

    terminate(door, found[1].id)
    watching.expect(*jobs[:1], *jobs[2:])
    assert pids(door, "tail") == pids(door, "cat") == []
    login.type("\x03")
    watching.expect(*jobs[:1], *jobs[2:4])
    login.type("sleep 706\n")
    last = watching.expect(*jobs[:1], *jobs[2:4], "sleep 706")[-1]
    terminate(door, last.id)
    watching.expect(*jobs[:1], *jobs[2:4])

    login.drop()
    left = watching.expect(*jobs[2:4])  # the others hung up
    assert left == found[2:4]
    for mission in left:
        terminate(door, mission.id)
    watching.expect()


def test_commands_without_a_terminal(door: Host, watching: Watching) -> None:
    plain = Ssh(door, "sleep 711")
    two = Ssh(door, "sleep 712; sleep 713")
    Ssh(door, "sleep 714 | cat")
    Ssh(door, "cat >/dev/null")
    Ssh(door, "-s", "sftp")
    assert Ssh(door, "nohup sleep 715 >/dev/null 2>&1 &").wait() == 0
    Ssh(door, "sleep 716", terminal=True)
    found = watching.expect(
        "sleep 711", "bash -c sleep 712; sleep 713", "bash -c sleep 714 | cat",
        "bash -c cat >/dev/null", "/usr/lib/openssh/sftp-server", "sleep 715", "sleep 716",
    )  # fmt: skip
    assert snapshot(door, found[2].id)["children"] == 2
    for mission in found:
        terminate(door, mission.id)
    watching.expect()
    assert plain.wait() == two.wait() == 255


def test_a_script_for_a_shell_without_a_terminal(door: Host, watching: Watching) -> None:
    """It is no login shell, though it leads the session, and not called with a command."""
    login = Ssh(door, "bash -s")
    login.send(SCRIPT)
    door.wait_for(lambda: pids(door, "sleep 721"))
    [mission] = watching.expect("bash -s")
    assert snapshot(door, mission.id)["children"] == 1
    login.end_input()
    terminate(door, mission.id)
    watching.expect()
    assert "over" not in login.shown


def _windows(host: Host) -> str:
    shown = host.run(["tmux", "list-windows", "-a"], user="alice", check=False).stdout
    return str(shown)


def test_tmux(door: Host, watching: Watching) -> None:
    """Its windows outlive the login that began it, and are there for the next one."""
    login = Ssh(door, terminal=True)
    login.type("tmux new-session -s work\n")
    door.wait_for(lambda: "0: " in _windows(door))
    login.type("sleep 731\n")
    watching.expect("sleep 731")
    login.type("\x02c")
    door.wait_for(lambda: "1: " in _windows(door))
    login.type("sleep 732 | cat\n")
    Ssh(door, "tmux new-window -d sleep 733").wait()
    found = watching.expect("sleep 731", "sleep 732", "sleep 733")
    assert "tmux: client" in door.run(["ps", "-eo", "comm"]).stdout
    login.drop()
    door.wait_for(lambda: "tmux: client" not in door.run(["ps", "-eo", "comm"]).stdout)
    assert watching.expect("sleep 731", "sleep 732", "sleep 733") == found
    for mission in found[1:]:
        terminate(door, mission.id)
    watching.expect("sleep 731")
    again = Ssh(door, "tmux attach", terminal=True)
    door.wait_for(lambda: "tmux: client" in door.run(["ps", "-eo", "comm"]).stdout)
    again.type("sleep 734\n")  # in the window of the pipeline, whose shell is alive
    watching.expect("sleep 731", "sleep 734")
    Ssh(door, "tmux kill-server").wait()
    watching.expect()
    again.wait()


def test_screen(door: Host, watching: Watching) -> None:
    login = Ssh(door, terminal=True)
    login.type("screen -S work\n")
    door.wait_for(lambda: pids(door, "SCREEN -S work"))
    login.type("sleep 741\n")
    watching.expect("sleep 741")
    Ssh(door, "screen -S work -X screen sleep 742").wait()
    found = watching.expect("sleep 741", "sleep 742")
    login.drop()
    assert Ssh(door, "screen -d work").wait() in (0, 1)
    assert watching.expect("sleep 741", "sleep 742") == found
    terminate(door, found[0].id)
    watching.expect("sleep 742")
    again = Ssh(door, "screen -r work -p 0", terminal=True)
    again.type("sleep 743\n")
    watching.expect("sleep 742", "sleep 743")
    Ssh(door, "screen -S work -X quit").wait()
    watching.expect()


def test_su(door: Host, watching: Watching) -> None:
    """It is the mission of whom it runs as."""
    login = Ssh(door, terminal=True)
    login.type("su - bob\n")
    door.wait_for(lambda: "bob" in login.shown)
    login.type("sleep 751 &\n")
    login.type("sleep 752\n")
    one, two = watching.expect(Job("sleep 751", BOB), Job("sleep 752", BOB))
    assert missions(door, "alice") == []
    assert "201: " in refused(door, "TerminateMission", "u", str(two.id), user="alice")
    terminate(door, two.id, user="bob")
    watching.expect(Job("sleep 751", BOB))
    login.type("kill %1; exit\n")
    watching.expect()
    login.type("su - bob -c 'sleep 753; sleep 754'\n")
    [three] = watching.expect(Job("-bash -c sleep 753; sleep 754", BOB))
    terminate(door, three.id, user="bob")
    watching.expect()
    assert len({one.id, two.id, three.id}) == 3
    login.type("su bob\n")  # a shell like one within a shell
    watching.expect(Job("bash", BOB))
    login.type("sleep 755\n")
    watching.expect(Job("bash", BOB), Job("sleep 755", BOB))


def test_sudo(door: Host, watching: Watching) -> None:
    """What it runs as root is the mission of who has it running, else that of whom it runs as."""
    login = Ssh(door, terminal=True)
    for command, expected in (
        ("sudo -u bob sleep 761", Job("sleep 761", BOB)),
        ("sudo -u alice sleep 762", Job("sleep 762")),
        ("sudo sleep 763", Job("sleep 763")),
        ("sudo -u man sleep 764", Job("sleep 764")),
        ("sudo -i -u bob bash -c 'sleep 765; :'", Job("bash -c sleep 765; :", BOB)),
    ):
        login.type(f"{command}\n")
        watching.expect(expected)
        login.type("\x03")
        watching.expect()
    login.type("sudo -i -u bob\n")
    login.type("sleep 766\n")
    [mission] = watching.expect(Job("sleep 766", BOB))
    terminate(door, mission.id, user="bob")
    watching.expect()
    login.type("sleep 767\n")
    watching.expect(Job("sleep 767", BOB))


def test_a_scope_that_is_all_tmux(door: Host, watching: Watching) -> None:
    """As logind.conf(5) advises where logout kills: windows are those of any other tmux."""
    watching.allowed |= {"systemd-run", "tmux"}  # a scope is a mission before that is known to be in it
    run = "systemd-run --user --quiet --scope --unit=work.scope tmux new-session -d -s work"
    assert Ssh(door, run, terminal=True).wait() == 0
    for number in (771, 772):
        Ssh(door, f"tmux new-window -d 'sleep {number}; exec bash'").wait()
    found = watching.expect("bash -c sleep 771; exec bash", "bash -c sleep 772; exec bash")
    terminate(door, found[0].id)
    Ssh(door, "tmux send-keys -t work:0 'sleep 773' Enter").wait()
    found = watching.expect("bash -c sleep 772; exec bash", "sleep 773")
    terminate(door, found[1].id)
    watching.expect("bash -c sleep 772; exec bash")
    door.run(["env", "XDG_RUNTIME_DIR=/run/user/1000", "tmux", "kill-server"], user="alice")
    watching.expect()


@contextlib.contextmanager
def logouts_that_kill(host: Host) -> Iterator[None]:
    """As logind.conf(5) has it with KillUserProcesses=yes."""
    file = "/etc/systemd/logind.conf.d/kill.conf"
    host.run(["mkdir", "-p", "/etc/systemd/logind.conf.d"])
    host.run(["tee", file], stdin="[Login]\nKillUserProcesses=yes\n")
    host.systemctl("restart", "systemd-logind.service")
    try:
        yield
    finally:
        host.run(["rm", file])
        host.systemctl("restart", "systemd-logind.service")


def test_what_owns_a_task_outlives_a_logout_that_kills(door: Host, watching: Watching) -> None:
    """Also a connection that is lost; test_logout.py has more of it."""
    watching.allowed.add("missionctl")  # before it is sleep
    run = "missionctl run --mode dataTransfer --keep-alive=protect --"
    with logouts_that_kill(door):
        login = Ssh(door, terminal=True)
        login.type(f"{run} sleep 781 | cat &\n")
        login.type("nohup sleep 782 >/dev/null 2>&1 &\n")
        other = Ssh(door, f"{run} sleep 783")
        found = watching.expect("sleep 781", "sleep 782", "sleep 783")
        for mission in (found[0], found[2]):
            group = ["cat", f"/proc/{mission.pid}/cgroup"]
            door.wait_for(lambda group=group: "missiond-keep@1000" in door.run(group).stdout)  # type: ignore[misc]
        assert watching.expect("sleep 781", "sleep 782", "sleep 783") == found
        assert snapshot(door, found[0].id)["children"] == 1  # it was not moved, and is still of the same job
        login.type("exit\n")
        login.wait()
        other.drop()
        left = watching.expect("sleep 781", "sleep 783")
        door.wait_for(lambda: "sshd: alice" not in door.run(["ps", "-eo", "args"]).stdout)
        assert left == [found[0], found[2]]
        assert pids(door, "cat") == []
        assert len(door.locks()) == 2
        for mission in left:
            terminate(door, mission.id)
        watching.expect()
        door.wait_for(lambda: door.locks() == [])


def test_a_label_that_goes_on_over_sudo(door: Host, watching: Watching) -> None:
    """missionctl becomes sudo, which is no job; what that runs is root's, perhaps on another terminal."""
    login = Ssh(door, terminal=True)
    run = "missionctl run --title 'system upgrade' --"
    login.type(f"{run} sudo sh -c 'sleep 722; true'\n")
    door.wait_for(lambda: pids(door, "sleep 722"))
    door.wait_for(lambda: [each.label for each in missions(door)] == ["system upgrade"])
    [mission] = missions(door)
    assert info(door, mission.id)["argv"] == ["sudo", "sh", "-c", "sleep 722; true"]
    door.systemctl("restart", "missiond.service")
    door.wait_for(lambda: [each[:2] for each in missions(door)] == [(mission.id, "system upgrade")])
    login.type("\x03")
    gone(door, mission.id)
    watching.allowed |= {"system upgrade", "missionctl", "python3", "sudo"}
