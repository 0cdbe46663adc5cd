# SPDX-License-Identifier: Apache-2.0
"""People who log in with the real programs: over ssh(1), and what they start from there."""

from __future__ import annotations

import contextlib
import json
import threading
from typing import NamedTuple

from hosts.machine import Host
from hosts.people import Mission, missions
from hosts.spawned import Spawned

ALICE, BOB = 1000, 1001
_OPTIONS = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
_CLIENT = ["env", "TERM=xterm", "ssh", "-F", "none", *(f"-o{option}" for option in _OPTIONS)]
_KEYS = """
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
for user in alice bob; do
    install -d -m 700 -o $user -g $user /home/$user/.ssh
    install -m 600 -o $user -g $user /root/.ssh/id_ed25519.pub /home/$user/.ssh/authorized_keys
done
"""


def open_door(host: Host) -> None:
    """Have sshd run, and root hold a key to alice's and bob's accounts."""
    host.run(["install", "-d", "-m", "700", "/root/.ssh"])
    host.run(["sh", "-e"], stdin=_KEYS)
    host.systemctl("start", "ssh.service")


class Ssh:
    """A login over loopback; what is started there is `command`, or a login shell.

    The client is root's and in no session, so that it is nobody's mission.
    """

    def __init__(self, host: Host, *command: str, user: str = "alice", terminal: bool = False) -> None:
        options = ["-tt"] if terminal else []
        self._process: Spawned = host.spawn([*_CLIENT, *options, f"{user}@127.0.0.1", *command])
        self._shown: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def shown(self) -> str:
        """All that came back so far."""
        return "".join(self._shown)

    def type(self, text: str) -> None:
        """Type on its keyboard."""
        self.send(text.replace("\n", "\r"))

    def send(self, text: str) -> None:
        """Send as it is."""
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def end_input(self) -> None:
        """Have the other side read to the end."""
        self._process.stdin.close()

    def wait(self) -> int:
        """Wait until it is over by itself; its exit status."""
        return self._process.wait()

    def drop(self) -> None:
        """Lose the connection."""
        self._process.signal("KILL")
        self._process.wait()

    def _read(self) -> None:
        with contextlib.suppress(ValueError):  # closed at the end of the test
            while text := self._process.stdout.read(1):
                self._shown.append(text)


class Job(NamedTuple):
    """What is expected of a mission: whose it is, and the command line of the process that leads it."""

    args: str
    uid: int = ALICE

    @property
    def label(self) -> str:
        return self.args.split()[0].rpartition("/")[2].removeprefix("-")


class Watching:
    """What root's `missionctl missions --watch` has shown: it lists again at each MissionsChanged."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._stdout = host.spawn(["missionctl", "missions", "--watch", "--json"]).stdout
        self._now: list[dict[str, object]] | None = None
        self.ever: set[str] = set()
        """Labels of all that there ever was."""
        self.allowed = {"sleep", "cat", "tail", "bash", "zsh", "dash", "sftp-server"}
        """Of what may be among that: what is typed, and shells that were given a command."""
        threading.Thread(target=self._read, daemon=True).start()
        host.wait_for(lambda: self._now is not None)

    def _read(self) -> None:
        with contextlib.suppress(ValueError):
            for line in self._stdout:
                self._now = json.loads(line)
                self.ever |= {str(row["label"]) for row in self._now or ()}

    def expect(self, *jobs: Job | str) -> list[Mission]:
        """Wait until these are the missions, in their order, and no others: for who lists and who listens."""
        wanted = [job if isinstance(job, Job) else Job(job) for job in jobs]
        found: dict[Job, Mission] = {}

        def there() -> bool:
            listed = missions(self._host, None)
            found.clear()
            found.update({Job(self._args(each.pid), each.uid): each for each in listed})
            told = {(row["mission"], row["pid"], row["uid"], row["label"]) for row in self._now or ()}
            return (
                sorted(found) == sorted(wanted)
                and len(listed) == len(wanted)
                and all(found[job].label == job.label for job in wanted)
                and told == {(each.id, each.pid, each.uid, each.label) for each in listed}
            )

        try:
            self._host.wait_for(there, 10)
        except TimeoutError:
            processes = self._host.run(["ps", "-eHo", "user,pid,pgid,sid,tty,comm:16,args,cgroup"]).stdout
            raise AssertionError(f"{wanted} are wanted\n{found}\n{self._now}\n{processes}") from None
        assert {each.state for each in found.values()} <= {"running"}
        return [found[job] for job in wanted]

    def _args(self, pid: int) -> str:
        shown = self._host.run(["cat", f"/proc/{pid}/cmdline"], check=False).stdout
        return shown.replace("\0", " ").strip()


def pids(host: Host, command: str) -> list[int]:
    """Return who runs exactly this command line."""
    found = host.run(["pgrep", "-xf", command], check=False).stdout.split()
    return [int(pid) for pid in found]
