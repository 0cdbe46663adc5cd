# SPDX-License-Identifier: Apache-2.0
"""What the manual and the README show is run as it stands there, by alice, at a shell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from hosts.people import alices_manager
from hosts.readme import ROOT, section

if TYPE_CHECKING:
    from hosts.machine import Host

PROGRAMS = ("rsync", "backup", "work")
_ENVIRONMENT = "export PATH=/tmp/programs:$PATH XDG_RUNTIME_DIR=/run/user/1000; cd; "
_ROFF = {r"\-": "-", r"\(aq": "'", r"\(dq": '"', r"\(ti": "~", r"\fR": "", r"\fP": ""}
_EACH = re.compile("|".join(map(re.escape, _ROFF)))


def plain(roff: str) -> str:
    """Text without the escapes of a manual page."""
    return _EACH.sub(lambda found: _ROFF[found[0]], roff)


def of_the_manual() -> list[str]:
    page = (ROOT / "packaging/man/missionctl.1").read_text()
    examples = page.split(".SH EXAMPLES\n")[1].split("\n.SH ")[0]
    return [plain(line) for line in re.findall(r"^\.TP\n\.B (.*)$", examples, re.MULTILINE)]


def of_the_readme() -> list[str]:
    """Of the tour: the lines behind a `$`, with those that they go on in."""
    return re.findall(r"^    \$ ((?:.*\\\n)*.*)$", section("A quick tour"), re.MULTILINE)


def of_python() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", section("A quick tour"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def desk(host: Host) -> Iterator[Host]:
    """With the programs that the examples run."""
    host.run(["mkdir", "-p", "/tmp/programs"])
    for program in PROGRAMS:
        host.run(["sh", "-c", f"printf '#!/bin/sh\\necho {program} ran\\n' >/tmp/programs/{program}"])
    host.run(["sh", "-c", "echo sleep 5 >>/tmp/programs/work"])
    host.run(["sh", "-c", "printf '#!/bin/sh\\nexec sleep 600\\n' >/tmp/programs/syncthing"])
    host.run(["sh", "-c", "chmod 755 /tmp/programs /tmp/programs/*"])
    alices_manager(host)
    yield host
    stop = "systemctl --user stop missiond-run-sync.service"
    host.run(["sh", "-c", _ENVIRONMENT + stop], user="alice", check=False)


def run(host: Host, script: str) -> str:
    """Run it in one shell, which gives up at the first line that fails; what it prints.

    The shell does not become its last line: what calls missionctl is to be a shell.
    """
    stop = "systemctl --user stop missiond-run-sync.service 2>/dev/null || true\n"
    done = host.run(["bash", "-e", "-c", f"{_ENVIRONMENT}\n{stop}{script}\n:"], user="alice", check=False)
    assert (done.returncode, done.stderr) == (0, ""), f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("line", of_the_manual())
def test_the_manual(desk: Host, line: str) -> None:
    out = run(desk, line)
    for program in PROGRAMS:
        assert (f"{program} ran\n" in out) == (program in line)
    desk.wait_for(lambda: desk.locks() == [] or "syncthing" in line)


def test_the_readme(desk: Host) -> None:
    lines = of_the_readme()
    assert len(lines) >= 7
    out = run(desk, "\n".join(lines))
    for shown in ("rsync ran\n", "transient/", " 2min\n", "missiond-run-sync.service\n", "uu ", "Locks:"):
        assert shown in out


def test_python_of_the_readme(desk: Host) -> None:
    """The other examples in Python are run by tests/client/test_examples.py."""
    blocking, asynchronous, listing = of_python()
    work = "def copy():\n    yield from (10, 90)\ndef save(timeout):\n    print('saved in', round(timeout))\n"
    assert desk.python(f"{work}{blocking}", user="alice") == "saved in 60\n"
    configured = asynchronous.replace('"saving"', '"saving", at_most=7')
    said = desk.python(configured, user="alice")
    left, *words = said.splitlines()[0].split()
    assert 5 < float(left) <= 6  # what is left of the six when it is told
    assert words == ["seconds", "left"]
    desk.python(listing, user="alice")


def test_the_drop_in_of_the_manual(desk: Host) -> None:
    section = (ROOT / "packaging/man/missionctl.1").read_text().split(".SH SERVICES\n")[1].split(".fi")[0]
    drop_in = plain(section.split(".nf\n")[1])
    unit = "[Service]\nUser=bob\nExecStart=/usr/bin/backup\n"
    script = """
    mkdir -p /run/systemd/system/backup.service.d
    printf %s "$1" >/run/systemd/system/backup.service
    printf %s "$2" >/run/systemd/system/backup.service.d/awake.conf
    printf '#!/bin/sh\\nexec sleep 600\\n' >/usr/bin/backup
    chmod 755 /usr/bin/backup
    systemctl daemon-reload
    systemctl start backup.service
    """
    desk.run(["sh", "-ec", script, "sh", unit, drop_in])
    desk.wait_for(lambda: any("backup" in str(lock) for lock in desk.locks()))
    tasks = json.loads(desk.run(["missionctl", "tasks", "--json"]).stdout)
    [task] = [task for task in tasks if task["application"] == "backup"]
    assert (task["title"], str(task["pid"])) == ("backup", desk.show("backup.service", "MainPID"))
    desk.systemctl("stop", "backup.service")
    desk.wait_for(lambda: not any("backup" in str(lock) for lock in desk.locks()))
    desk.run(["sh", "-c", "rm -r /usr/bin/backup /run/systemd/system/backup.service*"])
    desk.systemctl("daemon-reload")
