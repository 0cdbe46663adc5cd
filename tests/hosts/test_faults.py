# SPDX-License-Identifier: Apache-2.0
"""Neighbours, disks and the agent itself fail while people work: what was granted stays, and nothing else.

MISSIOND_KILLS says how often the agent is killed.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts.client import main_pid, manager, refused, request, sleeper, start
from hosts.crowds import BIND, SERVICE, open_fds
from hosts.held import Held
from hosts.machine import MANAGER, TASKS, Host
from hosts.people import MISSIONS
from hosts.spawned import Spawned
from hosts.witness import Ledger, Witness

KILLS = int(os.environ.get("MISSIOND_KILLS", "20"))
BATCH = 20
SEED = 6
_LIMIT = "/run/systemd/system/missiond.service.d/limit.conf"
NEIGHBOURS = ["systemd-logind.service", "polkit.service"]


_KILL = """
RANDOM=$2
for _ in $(seq "$1"); do
    sleep "0.$((RANDOM % 6))$((RANDOM % 10))"
    main=$(systemctl show --property=MainPID --value missiond.service)
    kill -KILL "$main" || exit
    new=$main
    while [ "$new" = 0 ] || [ "$new" = "$main" ]; do
        sleep 0.02
        new=$(systemctl show --property=MainPID --value missiond.service)
    done
done
"""
"""Kills it so many times: at work, and while it starts, too."""


@pytest.fixture(scope="module")
def faulty(host_tree: Path) -> Iterator[Host]:
    """A host to be hard on."""
    with Host(host_tree, options=BIND) as host:
        host.wait_active()
        yield host


@pytest.fixture(autouse=True)
def nothing_left(faulty: Host) -> Iterator[None]:
    """A test that fails leaves no load for the next."""
    yield
    faulty.end_spawned()
    faulty.wait_active()
    faulty.wait_for(lambda: faulty.locks() == [])


@pytest.mark.timeout(120 + 3 * KILLS, func_only=True)
def test_killed_at_any_moment(faulty: Host, capsys: pytest.CaptureFixture[str]) -> None:
    held = Held(faulty)
    witness = Witness(faulty, user=None)
    outcomes: Counter[str] = Counter()
    for done in range(0, KILLS, BATCH):
        count = min(BATCH, KILLS - done)
        ledger = Ledger(witness)
        number = ledger.request(150.0)
        faulty.run(["bash", "-c", _KILL, "bash", str(count), str(SEED + done)], timeout=30 + 3 * BATCH)
        faulty.wait_active()
        ledger.check(number)
        witness.do("cancel", number)
        for report in held.reports():
            outcomes += Counter(report["outcomes"])
        assert set(held.names) <= {lock.why for lock in faulty.locks()}
    heard = [each.arguments for each in witness.heard("SuspendDelayEnded")]
    witness.close()
    held.check()
    assert len(heard) == len({number for number, _ in heard})
    with capsys.disabled():
        print(f"\n{KILLS} kills: {dict(outcomes)}; nothing lost")


@pytest.mark.parametrize("unit", NEIGHBOURS)
@pytest.mark.parametrize("how", ["stop", "hang", "restart", "kill"])
def test_a_neighbour_fails(faulty: Host, unit: str, how: str) -> None:
    held = Held(faulty)
    if how == "hang":
        main = main_pid(faulty, unit)
        faulty.run(["kill", "-STOP", main])
        faulty.run(["sleep", "1"])
        faulty.run(["kill", "-CONT", main])
    elif how == "kill":
        faulty.systemctl("kill", "--signal=KILL", unit)
    else:
        faulty.systemctl(how, unit, check=False)  # a call may start it while it is stopped
    held.reports()
    faulty.systemctl("start", unit)
    held.check()


@pytest.mark.timeout(150, func_only=True)
def test_polkit_hangs_for_longer_than_logind_waits(faulty: Host) -> None:
    """logind gives up after 25 s; the lock is there once polkit is, though nothing tells of that."""
    owner = sleeper(faulty)
    faulty.systemctl("start", "polkit.service")
    main = main_pid(faulty, "polkit.service")
    faulty.run(["kill", "-STOP", main])
    try:
        chosen = ["1", "pid", "u", str(owner.pid)]
        # busctl gives up after 25 s as well: this is answered earlier
        faulty.busctl("call", *MANAGER, TASKS, "RequestSuspendDelay", "sa{sv}", "late", *chosen, user="alice")
        faulty.wait_for(lambda: "polkit does not answer logind" in manager(faulty, "Degraded"), 60)
        assert faulty.locks() == []
    finally:
        faulty.run(["kill", "-CONT", main])
    faulty.wait_for(lambda: [lock.what for lock in faulty.locks()] == ["sleep"], 45)
    faulty.wait_for(lambda: manager(faulty, "Degraded") == "as 0")
    owner.signal("KILL")
    faulty.wait_for(lambda: faulty.locks() == [])


def test_the_bus_hangs(faulty: Host) -> None:
    held = Held(faulty)
    main = main_pid(faulty, "dbus.service")
    faulty.run(["kill", "-STOP", main])
    faulty.run(["sleep", "2"])
    faulty.run(["kill", "-CONT", main])
    held.check()


@pytest.mark.timeout(150, func_only=True)
def test_the_journal_stands_still(faulty: Host) -> None:
    """Nobody waits for it, however much there is to say."""
    main = main_pid(faulty, SERVICE)
    held = Held(faulty)
    wrong = [f"/etc/missiond/missiond.conf.d/wrong-{number}.conf" for number in range(200)]
    faulty.run(["mkdir", "-p", str(Path(wrong[0]).parent)])
    lines = "[Limits]\n" + "".join(f"Wrong{number}={'x' * 200}\n" for number in range(20))
    faulty.run(["tee", *wrong], stdin=lines)
    reload = ("call", *MANAGER, "org.missiond.Agent1.Manager", "Reload")
    journal = main_pid(faulty, "systemd-journald.service")
    faulty.run(["kill", "-STOP", journal])
    try:
        for _ in range(5):  # its socket holds some 10 000 lines
            faulty.busctl(*reload)
        held.reports()
    finally:
        faulty.run(["kill", "-CONT", journal])
        faulty.run(["rm", *wrong])
    held.check()
    assert main_pid(faulty, SERVICE) == main


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_the_bus_goes_and_comes_back(faulty: Host, how: str) -> None:
    """logind 257 does not return to a new bus by itself."""
    held = Held(faulty)
    if how == "kill":
        faulty.systemctl("kill", "--signal=KILL", "dbus.service")
        faulty.systemctl("start", "dbus.service", check=False)
    else:
        faulty.systemctl("restart", "dbus.service", check=False)
    faulty.systemctl("reset-failed", "systemd-logind.service", check=False)  # it starts often enough here
    faulty.systemctl("restart", "systemd-logind.service")
    faulty.wait_active()
    held.check()


@pytest.fixture(params=["/var/lib/missiond", "/run/missiond"])
def small(faulty: Host, request: pytest.FixtureRequest) -> Iterator[str]:
    """One of the agent's directories on a file system of its own, 128 KiB large."""
    place = str(request.param)
    faulty.systemctl("stop", SERVICE)
    faulty.run(["mount", "-t", "tmpfs", "-o", "size=128k,mode=700,uid=missiond,gid=missiond", "tmpfs", place])
    faulty.systemctl("start", SERVICE)
    yield place
    faulty.systemctl("stop", SERVICE)
    faulty.run(["umount", place])
    faulty.systemctl("start", SERVICE)


def _once(host: Host, owner: Spawned) -> None:
    """A request that is over at once."""
    number = request(host, owner)
    host.tasks("CancelSuspendDelay", "u", str(number), user="alice")


def _said(host: Host, place: str) -> None:
    word = "state directory" if place.startswith("/var") else "runtime directory"
    assert word in manager(host, "Degraded")


def _well_again(host: Host, owner: Spawned, kept: int) -> None:
    """It says so, by itself, and the task lives on."""
    _once(host, owner)
    host.wait_for(lambda: manager(host, "Degraded") == "as 0")
    host.systemctl("restart", SERVICE)
    assert [lock.why for lock in host.locks()] == [f"continuous task {kept}: voip"]
    assert "Traceback" not in host.journal(SERVICE)
    owner.signal("KILL")


def test_a_full_disk(faulty: Host, small: str) -> None:
    owner = sleeper(faulty)
    kept = start(faulty, owner, "voip")
    faulty.run(["sh", "-c", f"cat /dev/zero >{small}/filler"], check=False)
    for _ in range(3):
        _once(faulty, owner)
    _said(faulty, small)
    faulty.run(["rm", f"{small}/filler"])
    _well_again(faulty, owner, kept)


def test_a_read_only_disk(faulty: Host, small: str) -> None:
    """From the start, with records in it of what is over."""
    owner, gone = sleeper(faulty), sleeper(faulty)
    kept = start(faulty, owner, "voip")
    request(faulty, gone)
    described = ("1", "pid", "u", str(gone.pid))
    faulty.call(*MANAGER, MISSIONS, "RegisterMission", "a{sv}", *described, user="alice")
    faulty.systemctl("stop", SERVICE)
    gone.signal("KILL")
    gone.wait()
    faulty.run(["mount", "-o", "remount,ro", small])
    faulty.systemctl("start", SERVICE)
    _once(faulty, owner)
    _said(faulty, small)
    faulty.wait_for(lambda: [lock.why for lock in faulty.locks()] == [f"continuous task {kept}: voip"])
    faulty.run(["mount", "-o", "remount,rw", small])
    faulty.systemctl("restart", SERVICE)  # the unit has a view of its own of what may be written
    _well_again(faulty, owner, kept)


_RECORD = "/var/lib/missiond/usage"
_WRITE_RECORD = """
import sys, time
boot = open("/proc/sys/kernel/random/boot_id").read().strip()
now, wall = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000000, time.time_ns() // 1000000
stamp = f'"boot":"{boot}","now":{now},"wall":{wall}'
with open("/var/lib/missiond/usage", "w") as file:
    file.write(f'{{"version":1,"uid":1000,"app":"sleep","start":{now - 590000},"end":{now},{stamp}}}\\n')
    for number in range(int(sys.argv[1])):
        uid = 100000 + number // 3
        file.write(f'{{"version":1,"uid":{uid},"app":"app{number % 3}","start":0,"end":9,{stamp}}}\\n')
"""


@pytest.mark.parametrize("lines", [200_000, 0])
def test_a_record_of_quotas_of_any_size(faulty: Host, capsys: pytest.CaptureFixture[str], lines: int) -> None:
    """The agent starts in time and in little memory, and what an honest user used is not forgotten."""
    faulty.systemctl("stop", SERVICE)
    if lines:
        faulty.python(_WRITE_RECORD, str(lines))
    else:
        faulty.run(["dd", "if=/dev/urandom", f"of={_RECORD}", "bs=1M", "count=8"])
    began = time.monotonic()
    faulty.systemctl("start", SERVICE)
    took = time.monotonic() - began
    peak = int(faulty.run(["awk", "/VmHWM/ {print $2}", f"/proc/{main_pid(faulty, SERVICE)}/status"]).stdout)
    with capsys.disabled():
        print(f"\n{lines} lines: started in {took:.1f} s, at most {peak >> 10} MiB")
    assert peak < 150 << 10
    owner = sleeper(faulty)
    if lines:
        assert "9900002" in refused(
            faulty, "RequestSuspendDelay", "sa{sv}", "x", "1", "pid", "u", str(owner.pid)
        )
        assert int(faulty.run(["stat", "-c", "%s", _RECORD]).stdout) < 1 << 20
    else:
        assert "half of its quota" in manager(faulty, "Degraded")
        request(faulty, owner)
        faulty.systemctl("stop", SERVICE)
        faulty.run(["rm", _RECORD])
        faulty.systemctl("start", SERVICE)
        assert "half of its quota" not in manager(faulty, "Degraded")
    owner.signal("KILL")


@pytest.fixture
def narrow(faulty: Host) -> Iterator[int]:
    """An agent that can open this many file descriptors more than it has at rest."""
    more = 6
    limit = open_fds(faulty) + more
    faulty.run(["mkdir", "-p", str(Path(_LIMIT).parent)])
    faulty.run(["tee", _LIMIT], stdin=f"[Service]\nLimitNOFILE={limit}\n")
    faulty.systemctl("daemon-reload")
    faulty.systemctl("restart", SERVICE)
    yield more
    faulty.run(["rm", _LIMIT])
    faulty.systemctl("daemon-reload")
    faulty.systemctl("restart", SERVICE)


def test_out_of_file_descriptors(faulty: Host, narrow: int) -> None:
    """MemoryFailed for those who need one; the others go on, and so does who comes when there is room."""
    owners = [sleeper(faulty) for _ in range(narrow + 1)]
    started = 0
    said = ""
    for number, owner in enumerate(owners):
        chosen = ("2", "pid", "u", str(owner.pid), "context", "s", str(number))
        call = ("StartBackgroundRunning", "asa{sv}", "1", "voip", *chosen)
        done = faulty.busctl("call", *MANAGER, TASKS, *call, user="alice", check=False)
        said = done.stderr
        if done.returncode:
            break
        started += 1
    assert "9800001: " in said
    assert started > 0
    assert manager(faulty, "ContinuousTasks") == f"u {started}"
    for owner in owners:
        owner.signal("KILL")
    faulty.wait_for(lambda: faulty.locks() == [])
    last = sleeper(faulty)
    start(faulty, last, "voip")
    assert len(faulty.locks()) == 1
    assert manager(faulty, "Degraded") == "as 0"
    assert "Traceback" not in faulty.journal(SERVICE)
    last.signal("KILL")
