# SPDX-License-Identifier: Apache-2.0
"""The agent reaches the end of the memory that it may have: no lock goes, and none is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts.client import main_pid, manager, request, sleeper, start
from hosts.crowds import BIND, SERVICE, inside
from hosts.machine import Host

_LIMIT = "/run/systemd/system/missiond.service.d/memory.conf"
_ROOM = 3
"""MiB more than at rest: a few hundred of the tasks that one user may have."""
_TASKS = 3000


@pytest.fixture(scope="module")
def roomy(host_tree: Path) -> Iterator[Host]:
    """A host with programs that mean no good."""
    with Host(host_tree, options=BIND) as host:
        host.wait_active()
        yield host


@pytest.fixture
def tight(roomy: Host) -> Iterator[Host]:
    """Its agent can hardly grow.  Containers have no memory controller: address space stands for memory."""
    status = roomy.run(["cat", f"/proc/{main_pid(roomy, SERVICE)}/status"]).stdout.splitlines()
    size = next(int(line.split()[1]) for line in status if line.startswith("VmSize:"))
    roomy.run(["mkdir", "-p", str(Path(_LIMIT).parent)])
    roomy.run(["tee", _LIMIT], stdin=f"[Service]\nLimitAS={size + _ROOM * 1024}K\n")
    roomy.systemctl("daemon-reload")
    roomy.systemctl("restart", SERVICE)
    yield roomy
    roomy.run(["rm", _LIMIT])
    roomy.systemctl("daemon-reload")
    roomy.systemctl("restart", SERVICE)


def test_no_more_memory(tight: Host, capsys: pytest.CaptureFixture[str]) -> None:
    kept = sleeper(tight, "bob")
    number = request(tight, kept, user="bob")
    task = start(tight, kept, "voip", user="bob")
    crowd = sleeper(tight)
    found = inside(tight, "flood", "tasks", str(_TASKS), str(crowd.pid))
    assert "MemoryFailed 9800001" in found["answers"]
    with capsys.disabled():
        print(f"\n{_TASKS} in {_ROOM} MiB: {found['answers']}; {tight.show(SERVICE, 'NRestarts')} restarts")
    assert tight.show(SERVICE, "NRestarts") == "0"
    kept_locks = {f"transient task {number}: test", f"continuous task {task}: voip"}
    assert kept_locks <= {lock.why for lock in tight.locks()}
    crowd.signal("KILL")
    tight.wait_for(lambda: {lock.why for lock in tight.locks()} == kept_locks, 30)
    tight.systemctl("restart", SERVICE)  # Python may go on failing where memory is in pieces
    assert {lock.why for lock in tight.locks()} == kept_locks
    assert request(tight, kept, user="bob") > number
    assert manager(tight, "Degraded") == "as 0"
    kept.signal("KILL")
    tight.wait_for(lambda: tight.locks() == [])
    tight.wait_for(lambda: tight.show(SERVICE, "NFileDescriptorStore") == "0")
