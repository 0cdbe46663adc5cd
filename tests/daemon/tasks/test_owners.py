# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from missiond.core.tasks.owner import App, Owner
from missiond.core.tasks.transient import TransientTask
from missiond.daemon.tasks import owners as owners_module
from missiond.daemon.tasks.owners import Owners
from missiond.errors import CallerVerificationFailed, MemoryFailed
from missiond.host.processes.processes import ProcessWatch, inspect


class NoConnections:
    def on_vanish(self, name: str, callback: Callable[[], None]) -> owners_module.ConnectionWatch:
        raise AssertionError


def lease_of(owner: Owner) -> TransientTask:
    return TransientTask(id=1, owner=owner, requester=owner.app, started=0, reason="", deadline=1)


async def test_without_a_descriptor_for_it_the_caller_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = ProcessWatch()
    owners = Owners(watch, NoConnections())

    def exhausted(*_arguments: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(owners_module, "inspect", exhausted)
    monkeypatch.setattr(watch, "watch", exhausted)
    with pytest.raises(MemoryFailed):
        owners.named(os.getpid(), os.getpid())
    with pytest.raises(MemoryFailed):
        owners.watch(lease_of(Owner(os.getpid(), 1, App(0, "x"))), lambda _lease: None)


async def test_a_process_with_the_pid_of_an_earlier_one_is_another() -> None:
    owners = Owners(ProcessWatch(), NoConnections())
    process = inspect(os.getpid())
    with pytest.raises(CallerVerificationFailed):
        owners.watch(
            lease_of(Owner(process.pid, process.start_ticks + 1, App(process.uid, "x"))), lambda _lease: None
        )
    owners.close()
