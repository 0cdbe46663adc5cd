# SPDX-License-Identifier: Apache-2.0
"""The removal of all drop-ins with Restart=always, of the system's manager and of users' managers.

About those of a user a child process is asked that becomes that user, as missiond-units does.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from missiond.helper.processes import Users
from missiond.units.units import SystemctlManager, become

_LOGGER = logging.getLogger(__name__)
PATIENCE = 30.0
"""Seconds for all managers together; one may hang."""


def take_all_back(users: Users, runtimes: Path = Path("/run/user")) -> bool:
    """Whether none is left, as far as can be told."""
    children = {"the system's manager": _fork(lambda: SystemctlManager.system().unkeep_all())}
    for directory in sorted(runtimes.glob("[1-9]*")):
        if directory.name.isdecimal() and int(directory.name) in users:
            uid = int(directory.name)
            children[f"the manager of user {uid}"] = _fork(partial(_of_user, uid))
    deadline = time.monotonic() + PATIENCE
    done = True
    for who, child in children.items():
        if not _wait(child, deadline):
            _LOGGER.warning("drop-ins of %s may be left", who)
            done = False
    return done


def _of_user(uid: int) -> None:
    become(uid)
    SystemctlManager.of_user(uid).unkeep_all()


def _fork(work: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    except OSError as error:
        _LOGGER.warning("%s", error)
    finally:
        os._exit(status)


def _wait(child: int, deadline: float) -> bool:
    """Whether it has done its work in time; it is over then in any case."""
    pidfd = os.pidfd_open(child)
    try:
        ended, _, _ = select.select([pidfd], [], [], max(0.0, deadline - time.monotonic()))
        if not ended:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
