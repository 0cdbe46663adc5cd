# SPDX-License-Identifier: Apache-2.0
"""Programs that are missing where a mission is to go on: what is said, and that PackageKit installs them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from hosts.client import main_pid
from hosts.continuing import HERE, UNAWARE, Going, end_all, of, running, settle, wait
from hosts.devices import AGENT, UNIT, device_id, missionctl, wait_state
from hosts.lan import Lan, has_address
from hosts.machine import Host
from hosts.people import alices_manager
from hosts.repository import PROGRAM, Repository
from hosts.trees import tree

pytestmark = pytest.mark.timeout(150, func_only=True)
KIT = "packagekit.service"
GO = "/run/go"
WAITS = f"while [ ! -e {GO} ]; do sleep 0.1; done"
"""A maintainer script that takes its time."""
RULE = "45-missiond-install.rules"
UNKNOWN, NEEDED = 16300503, 16300504


class Two(NamedTuple):
    """A host, one with PackageKit, which may not be used by the agent, and that one's repository."""

    one: Host
    two: Host
    first: str
    second: str
    repository: Repository

    @property
    def hosts(self) -> tuple[Host, Host]:
        return self.one, self.two

    def begin(self, program: str) -> int:
        """Have a program run at the first, as a mission of alice's."""
        self.one.run(["tee", program], stdin=PROGRAM)
        self.one.run(["chmod", "755", program])
        self.one.spawn(["missionctl", "run", "--continuable", "--", program], user="alice")
        return of(self.one, UNAWARE)

    def push(self, mission: int, *, install: bool = True) -> Going:
        return Going(self.one, self.first, self.second, mission, isFreeInstall=install)

    def where(self) -> tuple[int, int]:
        """How many run at each."""
        return len(running(self.one, UNAWARE)), len(running(self.two, UNAWARE))


@pytest.fixture(scope="module")
def both(suite: str, deb: Path, host_tree: Path) -> Iterator[Two]:
    """Trusting each other with everything."""
    kit_tree = tree("kit", suite, deb)
    with Lan() as lan, Host(host_tree, lan=lan) as one, Host(kit_tree, lan=lan) as two:
        assert two.show(KIT, "ActiveState") == "inactive"
        for host in (one, two):
            host.systemctl("start", "systemd-networkd.service", "avahi-daemon.service")
        for host in (one, two):
            host.wait_for(partial(has_address, host), 30)
            host.wait_active(AGENT)
            alices_manager(host)
            host.run(["tee", "/tmp/go_on.py"], stdin=(HERE / "inside/go_on.py").read_text())
            missionctl(host, "peers", "enable")
        two.run(["mkdir", "-p", "/etc/missiond/missiond.conf.d"])
        settings = "[Continue]\nAnswerTimeout=2s\nAcceptTimeout=10s\nInstallTimeout=10s\n"
        two.run(["tee", "/etc/missiond/missiond.conf.d/test.conf"], stdin=settings)
        two.systemctl("reload", AGENT)
        first, second = device_id(one), device_id(two)
        for here, there in ((one, second), (two, first)):
            missionctl(here, "peers", "trust", there, "sync", "continue")
        for here, there in ((one, second), (two, first)):
            wait_state(here, there, "connected")
        yield Two(one, two, first, second, Repository(two))


@pytest.fixture
def hosts(both: Two) -> Iterator[Two]:
    """With nothing of alice's running, before and after."""
    end_all(both.hosts)
    yield both
    settle(both.hosts)
    end_all(both.hosts)
    both.two.run(["rm", "-f", GO])
    for host in both.hosts:
        for unit in (AGENT, UNIT):
            assert "Traceback" not in host.journal(unit)
            assert "internal error" not in host.journal(unit)


@pytest.fixture
def allowed(hosts: Two) -> Iterator[Two]:
    """With the rule of the examples in force."""
    place = f"/etc/polkit-1/rules.d/{RULE}"
    hosts.two.run(["cp", f"/usr/share/doc/missiond/examples/{RULE}", place])
    agent = main_pid(hosts.two, AGENT)
    action = "org.freedesktop.packagekit.package-install"
    ask = ["pkcheck", "--action-id", action, "--process", str(agent)]
    hosts.two.wait_for(lambda: hosts.two.run(ask, check=False).returncode == 0)
    yield hosts
    hosts.two.run(["rm", place])
    hosts.two.wait_for(lambda: hosts.two.run(ask, check=False).returncode != 0)


def refused(it: Two, program: str, *, install: bool = True) -> tuple[int, str]:
    """Push it in vain: it runs on where it is. The code, and why."""
    code, reason = it.push(it.begin(program), install=install).end()
    assert it.where() == (1, 0), reason
    return code, reason


def test_nobody_asked_for_it(allowed: Two) -> None:
    program = allowed.repository.add("unasked")
    code, reason = refused(allowed, program, install=False)
    assert (code, "have unasked installed there first" in reason) == (NEEDED, True), reason
    assert allowed.repository.status("unasked") == ""


def test_nobody_allowed_it(hosts: Two) -> None:
    code, reason = refused(hosts, hosts.repository.add("refused"))
    assert code == NEEDED
    assert "may not install packages" in reason
    assert "have refused installed there first" in reason
    assert hosts.repository.status("refused") == ""


def test_nobody_signed_it(allowed: Two) -> None:
    program = allowed.repository.add("unsigned")
    allowed.repository.trust("allow-insecure=yes")
    try:
        code, reason = refused(allowed, program)
    finally:
        allowed.repository.trust("trusted=yes")
    assert (code, "have unsigned installed there first" in reason) == (NEEDED, True)
    assert allowed.repository.status("unsigned") == ""
    print("\n\nof what is not signed:", reason)


def test_a_package_with_another_name(allowed: Two) -> None:
    """Nothing on the host says which; also of a name that packages provide, and of an installed one."""
    assert refused(allowed, allowed.repository.add("tools", "rambler"))[0] == UNKNOWN
    end_all(allowed.hosts)
    assert refused(allowed, "/usr/bin/tools-like")[0] == UNKNOWN
    end_all(allowed.hosts)
    assert refused(allowed, "/usr/bin/packagekit")[0] == UNKNOWN


def test_installed_and_continued(allowed: Two) -> None:
    """PackageKit is started for it, and how far it is is seen at the source while it is at work."""
    mission = allowed.begin(allowed.repository.add("wanderer", script=WAITS))
    allowed.two.systemctl("stop", KIT)
    going = allowed.push(mission)
    while going.until("installing")[1] < 50:
        pass  # the download
    assert allowed.where() == (1, 0)
    assert allowed.repository.status("wanderer") != "installed"
    allowed.two.run(["touch", GO])
    assert going.end() == (0, "")
    assert allowed.where() == (0, 1)
    assert allowed.repository.status("wanderer") == "installed"
    told = [said for said in going.said if said[0] == "installing"]
    assert [each[1] for each in told] == sorted({each[1] for each in told})
    assert {(each[2], each[3]) for each in told} == {(100, "installing its program there")}
    print("\n\nper cents seen at the source:", *(each[1] for each in told))


def test_at_the_prompt(allowed: Two) -> None:
    mission = allowed.begin(allowed.repository.add("prompted"))
    words = ["continue", str(mission), "--to", allowed.second, "--free-install", "--json"]
    said = [json.loads(line) for line in missionctl(allowed.one, *words).splitlines()]
    assert "installing" in [each["phase"] for each in said]
    assert allowed.where() == (0, 1)


def test_fetched(allowed: Two) -> None:
    mission = allowed.begin(allowed.repository.add("fetched"))
    going = Going(allowed.two, allowed.first, allowed.second, mission, isFreeInstall=True)
    going.until("installing")
    assert going.end() == (0, "")
    assert allowed.where() == (0, 1)
    assert "installing its program here" in [said[3] for said in going.said if len(said) == 5]


def test_a_package_that_is_broken(allowed: Two) -> None:
    try:
        code, reason = refused(allowed, allowed.repository.add("broken", script="exit 3"))
        assert code == NEEDED
        assert "error exit status 3" in reason
        assert allowed.repository.status("broken") == "half-configured"
    finally:
        allowed.repository.purge("broken")


def test_an_installation_that_takes_too_long(allowed: Two) -> None:
    """PackageKit goes on with it, rather than leave it half-configured, so that it is there the next time."""
    program = allowed.repository.add("slow", script=WAITS)
    code, reason = refused(allowed, program)
    assert (code, "InstallTimeout=" in reason) == (NEEDED, True), reason
    allowed.two.run(["touch", GO])
    wait(allowed.two, lambda: allowed.repository.status("slow") == "installed", "not installed")
    settle(allowed.hosts)
    assert allowed.push(of(allowed.one, UNAWARE)).end() == (0, "")
    assert allowed.where() == (0, 1)


def test_no_packagekit(allowed: Two) -> None:
    program = allowed.repository.add("alone")
    with without_packagekit(allowed.two):
        code, reason = refused(allowed, program)
    assert code == NEEDED
    assert "there is no PackageKit that could install it; have alone installed there first" in reason


@contextlib.contextmanager
def without_packagekit(host: Host) -> Iterator[None]:
    host.systemctl("mask", "--now", KIT)
    yield
    host.systemctl("unmask", KIT)


def test_a_packagekit_that_hangs(allowed: Two) -> None:
    program = allowed.repository.add("hung")
    allowed.two.systemctl("start", KIT)
    pid = str(main_pid(allowed.two, KIT))
    allowed.two.run(["kill", "-STOP", pid])
    try:
        code, reason = refused(allowed, program)
        assert (code, "InstallTimeout=" in reason) == (NEEDED, True), reason
    finally:
        allowed.two.run(["kill", "-CONT", pid])
    settle(allowed.hosts)
    assert allowed.push(of(allowed.one, UNAWARE)).end() == (0, "")


def test_a_packagekit_that_dies(allowed: Two) -> None:
    mission = allowed.begin(allowed.repository.add("orphan", script=WAITS))
    going = allowed.push(mission)
    while going.until("installing")[1] < 50:
        pass
    allowed.two.run(["kill", "-KILL", str(main_pid(allowed.two, KIT))])
    code, reason = going.end()
    assert code == NEEDED
    assert "PackageKit ended while it was at work" in reason
    assert allowed.where() == (1, 0)
    allowed.two.run(["touch", GO])
    allowed.repository.purge("orphan")
