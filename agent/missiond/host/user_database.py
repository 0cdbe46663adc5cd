# SPDX-License-Identifier: Apache-2.0
"""Names and uids of users, without waiting for hanging directories (nsswitch.conf(5)).

getpwnam(3) and getpwuid(3) are asked in threads. What they said is remembered, and asked for again once it
is old; until there is an answer, what was known counts.
"""

from __future__ import annotations

import asyncio
import pwd
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from missiond.errors import SystemServiceFailed
from missiond.host.users.user_names import LOGINS

FRESH = 60.0
"""Seconds before an answer is asked for again."""
PATIENCE = 10.0
"""Seconds of waiting in `learn`."""
_GLANCE = 0.02
"""Seconds that a question waits which nobody has asked before: files answer sooner, directories may not."""
_MOST_KNOWN = 10_000

Key = str | int
"""A name, with a uid as the answer; a uid, with a name; or the result of `home`, with a directory."""


def home(uid: int) -> str:
    """Return the key of a user's home: no name begins like this."""
    return f"~{uid}"


@dataclass(slots=True)
class _Entry:
    answer: Key | None = None
    """None: there is no such user."""
    at: float = float("-inf")
    asking: bool = False
    answered: threading.Event = field(default_factory=threading.Event)
    waiting: list[Callable[[], None]] = field(default_factory=list)


class UserDatabase:
    """The host's users. `most` threads may wait for an answer at a time; used from one thread."""

    def __init__(
        self,
        ask: Callable[[Key], Key | None] | None = None,
        *,
        most: int = 8,
        logins: Path = LOGINS,
    ) -> None:
        self._ask = ask or _ask
        self._most = most
        self._logins = logins
        self._entries: dict[Key, _Entry] = {}
        self._threads = threading.BoundedSemaphore(most)

    async def learn(self, key: Key) -> None:
        """Ask anew, for `uid_of` and the like to have the answer; raises SystemServiceFailed after 10 s."""
        entry = self._begin(key)
        if entry.asking:
            loop, done = asyncio.get_running_loop(), asyncio.Event()
            entry.waiting.append(lambda: _in_loop(loop, done.set))
            if entry.asking:  # it may have ended just before
                try:
                    async with asyncio.timeout(PATIENCE):
                        await done.wait()
                except TimeoutError:
                    raise _silent(key) from None

    def uid_of(self, name: str) -> int:
        """Return a user's uid; raises KeyError where there is none, SystemServiceFailed where nobody says."""
        found = self._known(name)
        if not isinstance(found, int):
            raise KeyError(name)
        return found

    def name_of(self, uid: int) -> str:
        """Return a user's name; raises KeyError where there is none, SystemServiceFailed without answer."""
        found = self._logged_in(uid) or self._known(uid)
        if not isinstance(found, str):
            raise KeyError(uid)
        return found

    def home_of(self, uid: int) -> str:
        """Return a user's home directory; raises KeyError and SystemServiceFailed as `name_of`."""
        found = self._known(home(uid))
        if not isinstance(found, str):
            raise KeyError(uid)
        return found

    def _logged_in(self, uid: int) -> str | None:
        """Return the name noted by logind at login."""
        try:
            lines = (self._logins / str(uid)).read_text("utf-8", "replace").splitlines()
        except OSError:
            return None
        return next((line[5:] for line in lines if line.startswith("NAME=") and line[5:]), None)

    def _known(self, key: Key) -> Key | None:
        entry = self._entries.get(key)
        if entry is None or time.monotonic() - entry.at > FRESH:
            entry = self._begin(key)
        if entry.at == float("-inf"):
            entry.answered.wait(_GLANCE if entry.asking else 0)
            if entry.at == float("-inf"):
                raise _silent(key)
        return entry.answer

    def _begin(self, key: Key) -> _Entry:
        """Have a thread ask, unless one does; none that may be had is as if nobody answered."""
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= _MOST_KNOWN:
                self._entries = {each: old for each, old in self._entries.items() if old.asking}
            entry = self._entries[key] = _Entry()
        if entry.asking or not self._threads.acquire(blocking=False):
            return entry
        entry.asking = True
        try:
            threading.Thread(target=self._run, args=(key, entry), daemon=True).start()
        except RuntimeError:  # no thread to be had
            entry.asking = False
            self._threads.release()
        return entry

    def _run(self, key: Key, entry: _Entry) -> None:
        try:
            entry.answer = self._ask(key)
            entry.at = time.monotonic()
        except OSError:
            pass  # as if nobody had answered
        finally:
            entry.asking = False
            self._threads.release()
            entry.answered.set()
            while entry.waiting:
                entry.waiting.pop()()


def _ask(key: Key) -> Key | None:
    try:
        if isinstance(key, str) and key.startswith("~"):
            return pwd.getpwuid(int(key[1:])).pw_dir
        return pwd.getpwnam(key).pw_uid if isinstance(key, str) else pwd.getpwuid(key).pw_name
    except (KeyError, ValueError, OverflowError):
        return None


def _in_loop(loop: asyncio.AbstractEventLoop, work: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # closed meanwhile
        loop.call_soon_threadsafe(work)


def _silent(key: Key) -> SystemServiceFailed:
    return SystemServiceFailed(f"the user database does not answer about {key!r:.60}; try again later")


USERS = UserDatabase()
"""The one database of the agent."""
