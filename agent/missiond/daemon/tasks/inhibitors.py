# SPDX-License-Identifier: Apache-2.0
"""Locks of logind, one for each lease, held across restarts of logind and agent."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from missiond.common.backoff import Backoff
from missiond.core.tasks.locks import LockSpec, What
from missiond.degraded import Degraded
from missiond.host.systemd.logind import (
    LockRefused,
    LockUndecided,
    Logind,
    LogindMissing,
    OperationInProgress,
)
from missiond.host.systemd.service_manager import ServiceManager

_LOGGER = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds a caller waits for logind; the lock is taken later where logind takes longer."""

AT_ONCE = 64
"""Locks asked for at a time; the bus allows 128 calls without an answer (dbus-daemon(1))."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds until logind is asked again after polkit gave no answer; the pauses double."""


def no_logind(start_failure: str) -> str:
    """Return a sentence on the lack of logind; `start_failure` is the reason why logind can't start."""
    if start_failure:
        return (
            f"no logind, since it can't be started ({start_failure}): tasks run, and have their locks once it"
            " runs; see systemctl status systemd-logind"
        )
    return "no logind: tasks run, but nothing keeps the host awake"


COMMON = ("sleep", "idle", "handle-lid-switch")
"""Items the shipped polkit rule lets the agent lock."""


@dataclass(slots=True)
class _Hold:
    """A lock that is wanted, and the fd that holds it (or an earlier form of it)."""

    key: str
    spec: LockSpec
    fd: int | None = None
    held: LockSpec | None = None
    generation: int = 0
    settling: asyncio.Task[None] | None = field(default=None, repr=False)
    asking: bool = False
    refused: str | None = None
    """Why there is no lock, or only a part, by the last answer."""
    lacking: str | None = None
    """Why the held lock is only a part; None for a whole one."""
    gone: asyncio.Future[None] | None = field(default=None, repr=False)

    @property
    def stored_as(self) -> str:
        return f"{self.key}-{self.generation}"


class InhibitorManager:
    """Locks of the agent, as in `systemd-inhibit --list`: exactly one for each wanted key.

    A new lock is always held before the one that it replaces is closed, and each lies in the service
    manager's fd store as well, so that neither a change nor a death of the agent leaves a gap.
    """

    def __init__(self, logind: Logind, store: ServiceManager, degraded: Degraded) -> None:
        self._logind = logind
        self._store = store
        self._degraded = degraded
        self._listeners: list[Callable[[str], None]] = []
        self._holds: dict[str, _Hold] = {}
        self._asking = asyncio.Semaphore(AT_ONCE)
        self._again = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        """Nothing tells when polkit answers logind again."""

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Call back with the key of each newly held lock."""
        self._listeners.append(callback)

    @property
    def count(self) -> int:
        """How many locks are held at this moment."""
        return sum(hold.fd is not None for hold in self._holds.values())

    @property
    def holds_any(self) -> bool:
        """Whether a lock is held at this moment."""
        return any(hold.fd is not None for hold in self._holds.values())

    def is_held(self, key: str) -> bool:
        """Whether a lock stands for the key at this moment."""
        hold = self._holds.get(key)
        return hold is not None and hold.fd is not None

    async def take(self, key: str, spec: LockSpec) -> None:
        """Want this lock for the key, in place of an earlier one.

        Returns when it is held, or wanted no more, or after PATIENCE.
        Never fails: what logind refuses now is taken later, and `Degraded` says so.
        """
        self.want(key, spec)
        hold = self._holds[key]
        await self._wait(hold, self._settle_soon(hold))

    def want(self, key: str, spec: LockSpec) -> None:
        """Want a lock as in `take`, without waiting."""
        hold = self._holds.setdefault(key, _Hold(key, spec))
        hold.spec = spec
        self._settle_soon(hold)

    def release(self, key: str) -> None:
        """Want no lock for the key any more."""
        hold = self._holds.pop(key, None)
        if hold is None:
            return
        self._drop(hold)
        if hold.refused is not None:
            self._forget_refusal()
        if hold.gone is not None and not hold.gone.done():
            hold.gone.set_result(None)
        if hold.settling is not None and not hold.asking:
            hold.settling.cancel()  # it waits for its turn, which it needs no more

    def adopt(self, stored: Mapping[str, int], wanted: Mapping[str, LockSpec]) -> None:
        """Take over the fds of an earlier run, and close unwanted ones.

        Where one key has two (a change was under way), the later one stays.
        """
        latest: dict[str, tuple[int, str]] = {}
        for name in stored:
            key, _, generation = name.rpartition("-")
            if generation.isdecimal():
                latest[key] = max(latest.get(key, (-1, "")), (int(generation), name))
        keep = {name: key for key, (_, name) in latest.items() if key in wanted}
        for name, fd in stored.items():
            if name in keep:
                key = keep[name]
                self._holds[key] = _Hold(key, wanted[key], fd, None, latest[key][0])
            else:
                _LOGGER.info("closing the left-over lock %s", name)
                self._store.unstore(name)
                os.close(fd)
        for key, spec in wanted.items():
            self._holds.setdefault(key, _Hold(key, spec))

    def settle(self) -> None:
        """Take all wanted locks not held yet: logind is back, or sleep is over."""
        for hold in list(self._holds.values()):
            self._settle_soon(hold)

    async def settled(self) -> None:
        """Return when nothing is being taken any more, or after PATIENCE."""
        taking = {hold.settling for hold in self._holds.values() if hold.settling is not None}
        if taking:
            await asyncio.wait(taking, timeout=PATIENCE)

    async def verify(self, pid: int) -> None:
        """Take locks again after a restart of logind, where unlisted for `pid`."""
        try:
            listed = {(i.what, i.who, i.why) for i in await self._logind.inhibitors() if i.pid == pid}
        except LogindMissing:
            return
        except LockRefused as error:
            _LOGGER.warning("logind does not tell which locks it knows: %s", error)
            self.settle()
            return
        for hold in self._holds.values():
            held = hold.held
            if held is not None and (held.what_text, held.who, held.why) not in listed:
                hold.held = None
        self.settle()

    def close(self) -> None:
        """Stop; held locks stay in the fd store."""
        self._again.cancel()
        for hold in self._holds.values():
            if hold.settling is not None:
                hold.settling.cancel()
            if hold.fd is not None:
                os.close(hold.fd)
                hold.fd = None

    def _settle_soon(self, hold: _Hold) -> asyncio.Task[None] | None:
        if hold.settling is None and hold.held != hold.spec:
            hold.settling = asyncio.get_running_loop().create_task(self._settle(hold))
            hold.settling.add_done_callback(lambda task: self._settled(hold, task))
        elif hold.settling is None and hold.refused != hold.lacking:
            hold.refused = hold.lacking  # what was refused is wanted no more, and the earlier one is held
            self._forget_refusal()
        return hold.settling

    def _settled(self, hold: _Hold, task: asyncio.Task[None]) -> None:
        hold.settling = None
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOGGER.error("taking the lock %s failed", hold.key, exc_info=error)

    async def _wait(self, hold: _Hold, task: asyncio.Task[None] | None) -> None:
        if task is None:
            return
        if hold.gone is None:
            hold.gone = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait({task, hold.gone}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            self._degraded.set(
                "logind", "logind does not answer: tasks run, but nothing keeps the host awake"
            )

    async def _settle(self, hold: _Hold) -> None:
        while self._holds.get(hold.key) is hold and hold.held != hold.spec:
            spec = hold.spec
            fd = await self._inhibit(hold, spec)
            if fd is None:
                if hold.spec == spec:
                    return
                continue  # something else is wanted by now, which may be had
            if self._holds.get(hold.key) is hold and hold.spec == spec:
                self._install(hold, fd, spec)
            else:
                os.close(fd)

    def _install(self, hold: _Hold, fd: int, spec: LockSpec) -> None:
        before = _Hold(hold.key, spec, hold.fd, None, hold.generation)
        hold.fd, hold.held, hold.generation = fd, spec, hold.generation + 1
        hold.lacking = hold.refused
        try:
            self._store.store(hold.stored_as, fd)
        except OSError as error:
            _LOGGER.error("the lock %s won't outlive this process: %s", hold.key, error)
        self._drop(before)
        if before.fd is None:
            for listener in self._listeners:
                listener(hold.key)

    def _drop(self, hold: _Hold) -> None:
        if hold.fd is not None:
            self._store.unstore(hold.stored_as)
            os.close(hold.fd)
            hold.fd = None

    async def _inhibit(self, hold: _Hold, spec: LockSpec) -> int | None:
        """Return a lock on as many of the items as logind gives; None where logind gives nothing now."""
        refused: str | None = None
        for what in _attempts(spec.what):
            try:
                async with self._asking:
                    hold.asking = True
                    fd = await self._logind.inhibit(":".join(what), spec.who, spec.why)
            except LockUndecided as error:
                self._answered(hold, f"polkit does not answer logind, which is asked again ({error})")
                self._again.later(self.settle)
                return None
            except LockRefused as error:
                refused = f"logind refused a lock on {':'.join(what)} ({error}); see missiond(8)"
                continue
            except OperationInProgress:
                return None
            except LogindMissing:
                self._degraded.set("logind", no_logind(self._logind.start_failure))
                return None
            finally:
                hold.asking = False
            self._answered(hold, refused)
            self._again.reset()
            return fd
        self._answered(hold, refused)
        return None

    def _answered(self, hold: _Hold, refused: str | None) -> None:
        """Note an answer of logind; `Degraded` has one refusal for as long as there is any."""
        self._degraded.set("logind", None)
        hold.refused = refused
        if self._holds.get(hold.key) is not hold:
            return
        self._degraded.set("locks", refused or self._refusal())

    def _refusal(self) -> str | None:
        return next((hold.refused for hold in self._holds.values() if hold.refused is not None), None)

    def _forget_refusal(self) -> None:
        """Say no longer why a lock was refused that is wanted no more."""
        if (other := self._refusal()) is not None:
            self._degraded.set("locks", other)
        else:
            self._degraded.drop("locks")


def _attempts(what: What) -> Iterable[What]:
    """Return the whole lock first, then the items of the shipped rule, then sleep alone."""
    common = tuple(item for item in what if item in COMMON)
    return dict.fromkeys(w for w in (what, common, ("sleep",)) if w)
