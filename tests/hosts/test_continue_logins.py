# SPDX-License-Identifier: Apache-2.0
"""A mission that has come lives as long as its program works, whoever is logged in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hosts.client import main_pid, manager
from hosts.continuing import HERE, UNAWARE, Going, listed, settle, wait
from hosts.devices import AGENT
from hosts.lan import Lan
from hosts.machine import Host
from hosts.people import missions
from hosts.two import Two, befriended

pytestmark = pytest.mark.timeout(120, func_only=True)
BOB = 1001
KEEPER, MANAGER = f"missiond-keep@{BOB}.service", f"user@{BOB}.service"
SESSION = "bobs-terminal.service"
LOGIND = "[Login]\nUserStopDelaySec=2\n"
"""How long a user's manager stays after the last session."""


@pytest.fixture(scope="module")
def both(pair: tuple[Lan, Host, Host]) -> Two:
    """Trusting each other with everything; bob does not linger, and a manager stays for two seconds."""
    for host in pair[1:]:
        host.run(["mkdir", "-p", "/etc/systemd/logind.conf.d"])
        host.run(["tee", "/etc/systemd/logind.conf.d/short.conf"], stdin=LOGIND)
        host.systemctl("restart", "systemd-logind.service")
        host.run(["useradd", "--create-home", "carol"])
    return befriended(*pair)


@pytest.fixture
def hosts(both: Two) -> Iterator[Two]:
    """Bob is nowhere, before and after: with his last mission his login is let go."""
    yield both
    settle(both.hosts)
    for host in both.hosts:
        host.end_spawned()
        for pid in bobs(host):
            host.run(["kill", "-KILL", pid], check=False)
        wait(host, lambda host=host: stands(host, KEEPER) == "inactive", KEEPER)  # type: ignore[misc]
        wait(host, lambda host=host: stands(host, MANAGER) == "inactive", MANAGER)  # type: ignore[misc]
        assert manager(host, "Degraded") == "as 0"
        assert "Traceback" not in host.journal(AGENT)


def bobs(host: Host) -> list[str]:
    """Pids of his program."""
    return host.run(["pgrep", "-u", "bob", "-f", "^sleep 600$"], check=False).stdout.split()


def stands(host: Host, unit: str) -> str:
    """Return its state."""
    return host.show(unit, "ActiveState")


def log_in(host: Host) -> None:
    """Have a session of bob's."""
    host.systemd_run(SESSION, ["sleep", "infinity"], user="bob", session=True)
    wait(host, lambda: stands(host, MANAGER) == "active", MANAGER)


def start(host: Host) -> int:
    """Have a program of bob's that knows nothing of it; its mission."""
    host.spawn(["missionctl", "run", "--continuable", "--", UNAWARE], user="bob")
    found: list[int] = []

    def there() -> bool:
        pids = bobs(host)
        found[:] = [m.id for m in missions(host, None) if str(m.pid) in pids and m.continuable]
        return bool(found)

    wait(host, there, "no mission of bob's")
    return found[0]


def go(it: Two) -> int:
    """Have it go on at the second host; the result."""
    return Going(it.one, it.first, it.second, start(it.one)).end()[0]


def stays(host: Host) -> None:
    """See that it lives when a user who left after it has come is gone."""
    before = bobs(host)
    host.systemd_run("carols.service", ["sleep", "infinity"], user="carol", session=True)
    uid = host.run(["id", "-u", "carol"]).stdout.strip()
    wait(host, lambda: stands(host, f"user@{uid}.service") == "active", "carol's manager")
    host.systemctl("stop", "carols.service")
    wait(host, lambda: stands(host, f"user@{uid}.service") == "inactive", "carol's manager stays")
    assert (len(before), bobs(host), stands(host, KEEPER)) == (1, before, "active"), host.journal()[-6000:]


def test_of_a_user_who_is_not_there(hosts: Two) -> None:
    assert go(hosts) == 0
    stays(hosts.two)


def test_of_a_user_who_leaves_later(hosts: Two) -> None:
    log_in(hosts.two)
    assert go(hosts) == 0
    hosts.two.systemctl("stop", SESSION)
    stays(hosts.two)


def test_of_a_user_who_has_just_left(hosts: Two) -> None:
    mission = start(hosts.one)
    log_in(hosts.two)
    hosts.two.systemctl("stop", SESSION)
    assert Going(hosts.one, hosts.first, hosts.second, mission).end()[0] == 0
    stays(hosts.two)


def test_when_the_agent_is_killed(hosts: Two) -> None:
    assert go(hosts) == 0
    settle(hosts.hosts)
    hosts.two.run(["kill", "-KILL", main_pid(hosts.two, AGENT)])
    hosts.two.wait_for(lambda: hosts.two.show(AGENT, "NRestarts") != "0")
    hosts.two.wait_active(AGENT)
    stays(hosts.two)


def test_of_a_user_who_is_not_where_it_comes_back_to(hosts: Two) -> None:
    """The other host can't start it, and here its user has no manager."""
    hosts.two.run(["tee", UNAWARE], stdin="#!/no/such/interpreter\n")
    try:
        assert go(hosts) == 16300501
        wait(hosts.one, lambda: len(bobs(hosts.one)) == 1 and not listed(hosts.one), "it does not run again")
        stays(hosts.one)
    finally:
        hosts.two.run(["tee", UNAWARE], stdin=(HERE.parent / "standins/programs/unaware.sh").read_text())
