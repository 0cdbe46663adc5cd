# SPDX-License-Identifier: Apache-2.0
"""What the agent changed on a host is given back when it is stopped, turned off, removed or purged."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hosts.client import main_pid
from hosts.machine import Host
from hosts.people import Terminal
from hosts.services import Service, drop_ins

pytestmark = pytest.mark.timeout(240, func_only=True)
SERVICE = "missiond.service"
UNDO = "missiond-give-back.service"
GIVE_BACK = ["/usr/libexec/missiond", "--give-back"]
KEEPER = "missiond-keep@1000.service"
LOGIND = "[Login]\nKillUserProcesses=yes\nUserStopDelaySec=0\n"
DEB = "/mnt/missiond.deb"
_NUMBERS = itertools.count(1)
BEFORE = [700, 800, 900]
LOWER = [400, 500, 600]


@dataclass
class Three:
    """Alice's owners: a service of hers, one of the system's that is hers, and a job in a session of hers."""

    host: Host
    of_user: Service
    of_system: Service
    job: int

    @property
    def pids(self) -> list[int]:
        return [self.of_user.pid, self.of_system.pid, self.job]

    @property
    def scores(self) -> list[int]:
        return [
            int(self.host.run(["cat", f"/proc/{pid}/oom_score_adj"]).stdout.split()[0]) for pid in self.pids
        ]

    @property
    def job_is_in(self) -> str:
        """The unit of the job."""
        line = self.host.run(["cat", f"/proc/{self.job}/cgroup"]).stdout.strip()
        return line.partition("user-1000.slice/")[2].split("/")[0]

    def begin(self) -> None:
        """A task for each, the services with keep-alive restart."""
        for service, score in ((self.of_user, 700), (self.of_system, 800)):
            self._set(service.pid, score)
            service.task("context", "s", service.name)
        self._set(self.job, 900)
        pairs = ("1", "voip", "2", "pid", "u", str(self.job), "context", "s", "job")
        self.host.tasks("StartBackgroundRunning", "asa{sv}", *pairs, user="alice")
        self.check_held()

    def check_held(self) -> None:
        """All that is done for tasks is done."""
        host = self.host
        host.wait_for(lambda: self.scores == LOWER)
        host.wait_for(lambda: len(drop_ins(host)) == 2)
        host.wait_for(lambda: self.job_is_in == KEEPER)
        host.wait_for(lambda: len(host.locks()) == 3)
        assert (self.of_user.show("Restart"), self.of_system.show("Restart")) == ("always", "always")

    def check_given_back(self) -> None:
        """Everything is as if there were no missiond."""
        host = self.host
        host.wait_for(lambda: self.scores == BEFORE)
        host.wait_for(lambda: drop_ins(host) == [])
        host.wait_for(lambda: self.job_is_in.startswith("session-"))
        for unit in (KEEPER, "missiond-session@1000.service"):
            host.wait_for(lambda: host.show(unit, "ActiveState") == "inactive")  # noqa: B023
        assert (self.of_user.show("Restart"), self.of_system.show("Restart")) == ("no", "no")
        host.wait_for(lambda: len(self._sessions()) == 1)  # that of the terminal
        assert "missiond" not in host.run(["systemctl", "list-units", "--failed", "--plain"]).stdout

    def _sessions(self) -> list[str]:
        lines = self.host.run(["loginctl", "list-sessions", "--no-legend"]).stdout.splitlines()
        return [line for line in lines if "alice" in line and "manager" not in line]

    def _set(self, pid: int, score: int) -> None:
        self.host.run(["sh", "-c", f"echo {score} >/proc/{pid}/oom_score_adj"])


@pytest.fixture(scope="module")
def host(host_tree: Path, deb: Path) -> Iterator[Host]:
    """A host that has the package as a file too, and kills what is left of sessions."""
    with Host(host_tree, options=[f"--bind-ro={deb}:{DEB}"]) as booted:
        booted.run(["mkdir", "-p", "/etc/systemd/logind.conf.d"])
        booted.run(["tee", "/etc/systemd/logind.conf.d/kill.conf"], stdin=LOGIND)
        booted.systemctl("restart", "systemd-logind.service")
        yield booted


@pytest.fixture
def three(host: Host) -> Iterator[Three]:
    """With a task each; all is at rest after."""
    terminal = Terminal(host, f"given-{next(_NUMBERS)}")
    terminal.type("nohup sleep 4321 >/dev/null 2>&1 &\n")
    host.wait_for(lambda: host.run(["pgrep", "-xf", "sleep 4321"], check=False).stdout.split() != [])
    job = int(host.run(["pgrep", "-xf", "sleep 4321"]).stdout)
    host.wait_for(lambda: host.show("user@1000.service", "ActiveState") == "active")
    services = Service(host, "gb-user.service", of_user=True), Service(host, "gb-system.service")
    for service in services:
        service.run("sleep", "600")
    made = Three(host, *services, job)
    made.begin()
    yield made
    if host.run(["test", "-e", "/usr/libexec/missiond"], check=False).returncode:
        install(host)
    host.systemctl("start", SERVICE)
    host.wait_active()
    for service in services:
        with contextlib.suppress(AssertionError):  # her manager has ended with her last login
            service.systemctl("stop", service.name)
    host.run(["kill", "-KILL", str(job)], check=False)
    host.wait_for(lambda: host.locks() == [])
    with contextlib.suppress(AssertionError):  # it has ended with its session
        terminal.close()
    host.wait_for(lambda: host.show("user@1000.service", "ActiveState") == "inactive")
    host.wait_for(lambda: host.run(["find", "/run/missiond", "-path", "*/protection/[0-9]*"]).stdout == "")


def install(host: Host) -> None:
    host.run(["dpkg", "--install", DEB], timeout=120)


STOPS = {
    "stop": (["systemctl", "stop", SERVICE], ["systemctl", "start", SERVICE]),
    "disable": (["systemctl", "disable", "--now", SERVICE], ["systemctl", "enable", "--now", SERVICE]),
    "mask": (
        ["sh", "-c", f"systemctl stop {SERVICE}; systemctl mask {SERVICE}"],
        ["sh", "-c", f"systemctl unmask {SERVICE}; systemctl start {SERVICE}"],
    ),
    "mask --now": (
        ["systemctl", "mask", "--now", SERVICE],
        ["sh", "-c", f"systemctl unmask {SERVICE}; systemctl start {SERVICE}"],
    ),
    "mask --runtime --now": (
        ["systemctl", "mask", "--runtime", "--now", SERVICE],
        ["sh", "-c", f"systemctl unmask --runtime {SERVICE}; systemctl start {SERVICE}"],
    ),
    "remove": (["apt-get", "remove", "--yes", "missiond"], ["dpkg", "--install", DEB]),
}


def test_given_back_and_taken_up_again(host: Host, three: Three) -> None:
    for how, (end, begin) in STOPS.items():
        host.run(end, timeout=120)
        if how == "remove":  # nothing is waited for: it is done before the files go
            assert three.scores == BEFORE
            assert drop_ins(host) == []
        three.check_given_back()
        assert not any("missiond" in lock.who for lock in host.inhibitors())
        host.run(begin, timeout=120)
        host.wait_active()
        three.check_held()


def test_purge_leaves_nothing_and_the_next_install_ends_nothing(host: Host, three: Three) -> None:
    host.run(["apt-get", "purge", "--yes", "missiond"], timeout=120)
    three.check_given_back()
    install(host)
    host.wait_active()
    three.check_given_back()
    assert host.tasks("GetAllContinuousTasks", "b", "true") == [[]]


def test_what_only_starts_again_gives_nothing_back(host: Host, three: Three) -> None:
    for begin in (
        ["systemctl", "restart", SERVICE],
        ["systemctl", "kill", "--signal=KILL", SERVICE],
        ["dpkg", "--install", DEB],
        ["systemctl", "daemon-reexec"],
    ):
        pid = main_pid(host, SERVICE)
        host.run(begin, timeout=120)
        host.wait_for(lambda: "reexec" in begin[1] or host.show(SERVICE, "MainPID") not in (pid, "0"))  # noqa: B023
        host.wait_active()
        host.wait_for(lambda: host.show(UNDO, "ActiveState") == "inactive")
        assert three.scores == LOWER
        assert three.job_is_in == KEEPER
        assert len(drop_ins(host)) == 2
        three.check_held()
    for _ in range(6):
        host.systemctl("restart", SERVICE)
    assert host.show(UNDO, "Result") != "start-limit-hit"
    host.wait_active()
    three.check_held()
    assert "OnSuccess=" not in host.journal(None, "--lines=200", "--priority=warning")


def test_what_a_login_left_behind_ends_with_the_agent(host: Host, three: Three) -> None:
    """As at logout, where that ends all of a session and nobody keeps anything."""
    shell = int(host.run(["pgrep", "-u", "alice", "-f", "norc"]).stdout.split()[0])
    cgroup = host.run(["cat", f"/proc/{shell}/cgroup"]).stdout
    session = cgroup.partition("/session-")[2].partition(".scope")[0]
    host.run(["loginctl", "terminate-session", session])
    host.wait_for(lambda: host.run(["kill", "-0", str(shell)], check=False).returncode != 0)
    assert three.job_is_in == KEEPER
    host.systemctl("stop", SERVICE)
    host.wait_for(lambda: host.run(["kill", "-0", str(three.job)], check=False).returncode != 0)
    host.wait_for(lambda: host.show("user@1000.service", "ActiveState") == "inactive")


def test_by_hand(host: Host, three: Three) -> None:
    for user, said in (("alice", "is for root"), (None, "stop it: systemctl stop missiond")):
        done = host.run(GIVE_BACK, user=user, check=False)
        assert (done.returncode, said in done.stderr, len(done.stderr.splitlines())) == (1, True, 1), done
    three.check_held()
    host.systemctl("mask", UNDO)
    host.systemctl("stop", SERVICE)
    assert three.scores == LOWER
    _bad_notes(host)
    for _ in range(2):
        done = host.run(GIVE_BACK, check=False)
        assert done.returncode == 0, done
        three.check_given_back()
    host.systemctl("unmask", UNDO)
    host.run(["rm", "-rf", "/run/missiond/protection"])


_BAD = """
import json, os, pwd
os.chdir("/run/missiond/protection")
note = dict(version=1, pid=2, start_ticks=1, uid=1000, since=1, cgroup="x")
note.update(mark=None, home=None, processes=[])
bad = {
    901: '{"version":1,"pid":',
    902: "",
    903: json.dumps({**note, "version": 2}),
    904: json.dumps({**note, "mark": [3, "../../etc"]}),
    905: json.dumps({**note, "processes": [[os.getppid(), 1, 900, 600]]}),
    **{number: json.dumps(note) for number in range(2000, 4000)},
}
for name, text in bad.items():
    open(str(name), "w").write(text)
    os.chown(str(name), pwd.getpwnam("missiond").pw_uid, 0)
os.symlink("/etc/passwd", "906")
os.mkdir("907")
os.mkfifo("908")
"""


def _bad_notes(host: Host) -> None:
    """Torn, empty, of a later version, leading astray, of a pid that is another's now, no files, and many."""
    host.python(_BAD)
