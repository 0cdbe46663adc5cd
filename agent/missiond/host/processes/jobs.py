# SPDX-License-Identifier: Apache-2.0
"""Jobs: a person's programs from a shell, by process group (setpgid(2), credentials(7))."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from missiond.common.log_limiter import LogLimiter
from missiond.host.cgroups import tree
from missiond.host.processes import stat as process_stat
from missiond.host.processes.procfs import ProcDirectory
from missiond.host.processes.stat import Stat
from missiond.host.processes.tree import descendants

_THROTTLE = LogLimiter(logging.getLogger(__name__), burst=3)

SETTLED = 2.0
"""Seconds until a process is believed to stay in the process group, and to stay the same program."""

FORKED = 0.5
"""Seconds until a fork is believed to execute nothing, and a shell to stay."""

_DEPTH = 16
_SHELLS = frozenset(
    b"sh ash bash dash elvish fish ksh ksh93 mksh nu oksh pwsh rbash tcsh csh xonsh yash zsh".split()
)
_MULTIPLEXERS = frozenset(b"tmux screen SCREEN zellij dtach abduco dvtm byobu mtm tmate".split())
_PLACES = frozenset(
    # those who let people in
    b"sshd sshd-session sshd-auth login agetty dropbear mosh-server in.telnetd systemd "
    # what holds a login for us
    b"missiond-keep "
    # the parts of a desktop that stand in the session's own scope
    b"gdm-session-wor gdm-x-session gdm-wayland-ses sddm-helper lightdm Xorg Xwayland X gnome-session-b "
    b"gnome-session-i gnome-session-c startplasma-x11 startplasma-way plasma_session xfce4-session "
    b"lxqt-session dbus-daemon dbus-broker dbus-broker-lau dbus-run-sessio ssh-agent gpg-agent "
    b"gnome-keyring-d xinit startx".split()
)


_WRAPPERS = frozenset(
    b"env nice ionice setsid nohup chrt taskset stdbuf setpriv setarch linux32 linux64 prlimit chroot "
    b"numactl chpst envdir softlimit systemd-run missionctl choom runcon cgexec eatmydata catchsegv".split()
)
"""They become the program that they are given (execve(2))."""

_GO_BETWEENS = frozenset(b"sudo su doas runuser pkexec run0 unix_chkpwd mkhomedir_helpe".split())
"""They run something as another user, and wait for it; perhaps in a process group or terminal of its own.

Also what PAM runs for them.
"""


@dataclass(frozen=True, slots=True)
class Job:
    """A process group; `leader` gave the group the number, or is the oldest left.

    One that only lets another run (sudo) leads where there is nothing else. `founded` is the start time of
    the live process that gave the group its number; None where that is gone.
    """

    group: int
    leader: Stat
    founded: int | None = None
    application: str | None = None
    """The application, where told by more than the program."""

    def is_another(self, later: Job) -> bool:
        """Whether the number of this ended group was given to the later one."""
        return later.founded is not None and later.founded != self.founded


class SharedCgroup:
    """A control group with a person's programs side by side: a login session, a terminal.

    `only_terminals`: what has no controlling terminal belongs to the program whose group this is. `depth` is
    how deep the groups in it are looked into.
    """

    def __init__(self, directory: Path, *, only_terminals: bool = False, depth: int = tree.DEPTH) -> None:
        self._directory = directory
        self._depth = depth
        self._only_terminals = only_terminals
        self._known: dict[int, Stat] = {}
        self._forgotten: set[int] = set()
        """Since the last look began."""

    def look(self) -> Generator[None, None, dict[int, Job]]:
        """Read the group's processes and return the jobs by process group; dead ones are in none.

        There may be any number of groups and processes, so it is read in small steps.
        """
        stats = []
        self._forgotten.clear()
        for pids in tree.processes_by_group(self._directory, self._depth):
            for pid in pids:
                stat = self._known.get(pid)
                if stat is None and (stat := _read(pid)) is not None:
                    yield
                if stat is not None:
                    stats.append(stat)
            yield
        settled = process_stat.ticks_now() - SETTLED * process_stat.TICKS
        self._known = {
            stat.pid: stat for stat in stats if stat.start_ticks < settled and stat.pid not in self._forgotten
        }
        return (yield from self._jobs(stats))

    def _jobs(self, stats: list[Stat]) -> Generator[None, None, dict[int, Job]]:
        """Return the jobs among these processes by process group."""
        groups: dict[int, list[Stat]] = {}
        for stat in stats:
            groups.setdefault(stat.group, []).append(stat)
        jobs = {}
        for group, members in groups.items():
            job = _job(group, members)
            if self._is_job(job.leader):
                jobs[group] = job
            else:
                # a shell may become another program (exec), so it is looked at each time
                self.forget(job.leader.pid)
                yield
        return jobs

    def members(self, job: Job) -> Generator[None, None, list[Stat]]:
        """Return the live processes of a job, in small steps; none where the number is another's by now."""
        found = []
        for pids in tree.processes_by_group(self._directory, self._depth):
            for pid in pids:
                found += [stat for stat in read_live([pid]) if stat.group == job.group]
                yield
            yield
        return [] if not found or job.is_another(_job(job.group, found)) else found

    def forget(self, pid: int) -> None:
        """Forget a process after the exit."""
        self._known.pop(pid, None)
        self._forgotten.add(pid)

    def _is_job(self, leader: Stat) -> bool:
        if self._only_terminals and not leader.terminal:
            return False
        return not is_place(leader)


def is_place(
    stat: Stat,
    argv: Callable[[int], list[bytes]] | None = None,
    name: Callable[[int], bytes] | None = None,
) -> bool:
    """Whether a process is a login shell, a session leader or a gate for people, rather than a job.

    A shell that leads a session and was given a command (`sh -c`, as ssh(1) does) is a job, and so is one
    that is no login shell and has no terminal: it reads a script. What runs something as another user is not
    a job, but what it runs is, unless that is another login shell. The login(1) of bookworm leads the session
    itself, and its shell is one of those.
    """
    if stat.name in _PLACES or stat.name in _GO_BETWEENS or is_multiplexer(stat):
        return True
    argv = argv or argv_of
    if _is_systemds(stat, argv):
        return True
    if stat.name not in _SHELLS:
        return False
    words = argv(stat.pid)
    if _is_given_work(words[1:]):
        return False  # also where it calls itself a login shell: `su - bob -c COMMAND`
    is_login = bool(words) and words[0].startswith(b"-")
    if stat.pid != stat.session:
        # a login shell of `su -`; a loop that the login shell runs in the background has its argv as well
        above = (name or _name)(stat.parent)
        is_of_login = above == b"login" and stat.parent == stat.session
        return is_login and (is_of_login or above in _GO_BETWEENS)
    return not words or is_login or bool(stat.terminal)


def go_betweens_above(pid: int) -> Iterator[Stat]:
    """Read the runners of a process as another user (sudo), nearest first."""
    stat = _read(pid)
    for _ in range(_DEPTH):
        stat = _read(stat.parent) if stat is not None and stat.parent else None
        if stat is None or stat.name not in _GO_BETWEENS:
            return
        yield stat


def is_multiplexer(stat: Stat) -> bool:
    """Whether a process keeps shells with jobs, as tmux(1) and screen(1) do."""
    return stat.name in _MULTIPLEXERS or stat.name.startswith(b"tmux: ")


def _is_systemds(stat: Stat, argv: Callable[[int], list[bytes]]) -> bool:
    """Whether it is a helper of systemd's, or a service that has not become its program yet.

    Before it puts that one's name in parentheses it is systemd-executor, run by a file descriptor, whose
    number the kernel takes for its name (fexecve(3)). Until execve(2) is done it has no arguments.
    """
    if stat.name.isdigit() or stat.name == b"systemd-executo":
        first = (argv(stat.pid) or [b""])[0]
        return not first or first.startswith(b"(") or first.endswith(b"/systemd-executor")
    return stat.name.startswith(b"(") and stat.name.endswith(b")")


def _is_given_work(words: list[bytes]) -> bool:
    """Whether a shell was called with a command or a script: then it is a program like any other."""
    takes_value = False
    for word in words:
        if takes_value:
            takes_value = False
        elif word.startswith(b"--"):
            takes_value = word in (b"--rcfile", b"--init-file")
        elif word.startswith((b"-", b"+")):
            if b"c" in word:
                return True
            takes_value = word.endswith((b"o", b"O"))
        else:
            return True
    return False


def oldest(stats: Iterable[Stat]) -> Stat:
    """Return the process with the earliest start, of several the one with the lowest pid."""
    return min(stats, key=lambda stat: (stat.start_ticks, stat.pid))


def _job(group: int, members: list[Stat]) -> Job:
    founder = next((stat for stat in members if stat.pid == group), None)
    leader = founder or oldest(members)
    if leader.name in _GO_BETWEENS:
        others = [stat for stat in members if stat.name not in _GO_BETWEENS]
        leader = oldest(others) if others else leader
    return Job(group, leader, None if founder is None else founder.start_ticks)


def _read(pid: int) -> Stat | None:
    try:
        stat = process_stat.read(pid)
    except (ProcessLookupError, ValueError):
        return None
    except OSError as error:
        _THROTTLE.warning("process %d can't be read: %s", pid, error.strerror)
        return None
    return stat if stat.is_alive else None


def _name(pid: int) -> bytes:
    stat = _read(pid)
    return b"" if stat is None else stat.name


def is_becoming(stat: Stat, argv: Callable[[int], list[bytes]] | None = None) -> bool:
    """Whether a new process is about to become another program, and has no name yet.

    So are what systemd has forked, what only sets something and then executes a program, and shells and other
    programs that were forked to do that.
    """
    if stat.age > SETTLED:
        return False
    if _is_wrapper(stat, argv or argv_of):
        return True
    return stat.age <= FORKED and (stat.name in _SHELLS or stat.is_fork)


def is_wrapper(pid: int) -> bool:
    """Whether a new process only executes another program; not so once gone."""
    stat = _read(pid)
    return stat is not None and stat.age <= SETTLED and _is_wrapper(stat, argv_of)


def _is_wrapper(stat: Stat, argv: Callable[[int], list[bytes]]) -> bool:
    return stat.name in _WRAPPERS or stat.name == b"systemd" or _is_systemds(stat, argv)


def became_another(known: Stat) -> bool:
    """Whether a new process has another name since, or is gone.

    A shell that is about to run sudo(8) is a shell when it is looked at, and no shell when it is described.
    """
    if known.age > SETTLED:
        return False
    stat = _read(known.pid)
    return stat is None or (stat.name, stat.start_ticks) != (known.name, known.start_ticks)


def is_alive(known: Stat) -> bool:
    """Whether this very process still is."""
    stat = _read(known.pid)
    return stat is not None and stat.start_ticks == known.start_ticks


def read_live(pids: Iterable[int]) -> list[Stat]:
    """Read the live ones of the processes."""
    return [stat for stat in map(_read, pids) if stat is not None]


def family(pid: int, start_ticks: int) -> list[Stat]:
    """Read a process and the live descendants; none where the process is gone."""
    own = read_live([pid])
    if not own or own[0].start_ticks != start_ticks:
        return []
    return own + read_live(each.pid for each in descendants(pid))


def argv_of(pid: int) -> list[bytes]:
    """Read the command line of a process; nothing once gone."""
    try:
        with ProcDirectory(pid) as directory:
            return directory.of_program("cmdline", 4096).rstrip(b"\0").split(b"\0")
    except OSError:
        return []
