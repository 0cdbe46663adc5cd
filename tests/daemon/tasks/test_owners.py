# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import os
from typing import cast

import pytest

from missiond.bus.callers import Callers
from missiond.core.tasks.owner import App, Owner
from missiond.core.tasks.transient import TransientTask
from missiond.daemon.tasks import owners as owners_module
from missiond.daemon.tasks.owners import Owners
from missiond.errors import CallerVerificationFailed, MemoryFailed
from missiond.host.processes.processes import ProcessWatch, inspect


def lease_of(owner: Owner) -> TransientTask:
    return TransientTask(id=1, owner=owner, requester=owner.app, started=0, reason="", deadline=1)


async def test_without_a_descriptor_for_it_the_caller_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = ProcessWatch()
    owners = Owners(watch, cast("Callers", None))

    def exhausted(*_arguments: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(owners_module, "inspect", exhausted)
    monkeypatch.setattr(watch, "watch", exhausted)
    with pytest.raises(MemoryFailed):
        owners.named(os.getpid(), os.getpid())
    with pytest.raises(MemoryFailed):
        owners.watch(lease_of(Owner(os.getpid(), 1, App(0, "x"))), lambda _lease: None)


async def test_a_process_with_the_pid_of_an_earlier_one_is_another() -> None:
    owners = Owners(ProcessWatch(), cast("Callers", None))
    process = inspect(os.getpid())
    with pytest.raises(CallerVerificationFailed):
        owners.watch(
            lease_of(Owner(process.pid, process.start_ticks + 1, App(process.uid, "x"))), lambda _lease: None
        )
    owners.close()
