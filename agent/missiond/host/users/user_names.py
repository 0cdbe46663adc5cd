# SPDX-License-Identifier: Apache-2.0
"""Names of uids on this host, without waiting for hanging directories (nsswitch.conf(5)).

logind has asked for the name of everybody who logs in, and notes it in /run/systemd/users, where it is found
at once. For others getpwuid(3) is asked in a thread.
"""

from __future__ import annotations

import pwd
import threading
import time
from collections.abc import Callable
from pathlib import Path

from missiond.core.missions.people import is_own_name

LOGINS = Path("/run/systemd/users")
UNNAMED_FOR = 60.0
"""Seconds before a uid without a name is asked about again."""
MOST_KNOWN = 10_000


class UserNames:
    """Known uids with names; `told` is called in a thread with each uid found to have one.

    `most` are the threads that may wait for the user database; what is asked beyond that has no name for now.
    """

    def __init__(
        self,
        told: Callable[[int], None] | None = None,
        *,
        most: int = 4,
        logins: Path = LOGINS,
        name_of: Callable[[int], str] | None = None,
    ) -> None:
        self._told = told
        self._most = most
        self._logins = logins
        self._name_of = name_of or _name_of
        self._named: set[int] = set()
        self._unnamed: dict[int, float] = {}
        self._asking: dict[int, threading.Event] = {}

    def has(self, uid: int, patience: float = 0.0) -> bool:
        """Return whether a uid has a name, as far as known within `patience` seconds.

        Whoever waits for a database that hangs waits once for each uid.
        """
        if uid in self._named or self._is_logged_in(uid):
            return True
        if time.monotonic() < self._unnamed.get(uid, 0.0) or uid in self._asking:
            return False
        if len(self._asking) >= self._most:
            return False
        done = self._asking[uid] = threading.Event()
        try:
            threading.Thread(target=self._ask, args=(uid, done), daemon=True).start()
        except RuntimeError:  # no thread to be had
            self._asking.pop(uid, None)
            return False
        return patience > 0 and done.wait(patience) and uid in self._named

    def _is_logged_in(self, uid: int) -> bool:
        try:
            lines = (self._logins / str(uid)).read_text("utf-8", "replace").splitlines()
        except OSError:
            return False
        return any(line.startswith("NAME=") and is_own_name(uid, line[5:]) for line in lines)

    def _ask(self, uid: int, done: threading.Event) -> None:
        try:
            has_name = is_own_name(uid, self._name_of(uid))
        except (KeyError, OSError):
            has_name = False
        known: set[int] | dict[int, float] = self._named if has_name else self._unnamed
        if len(known) >= MOST_KNOWN:
            known.clear()
        if has_name:
            self._named.add(uid)
        else:
            self._unnamed[uid] = time.monotonic() + UNNAMED_FOR
        self._asking.pop(uid, None)
        done.set()
        if has_name and self._told is not None:
            self._told(uid)


def _name_of(uid: int) -> str:
    return pwd.getpwuid(uid).pw_name
