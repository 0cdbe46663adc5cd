# SPDX-License-Identifier: Apache-2.0
"""Watches on processes and connections, the owners of leases."""

from __future__ import annotations

from collections.abc import Callable

from missiond.bus.callers import Callers
from missiond.common.subscription import Subscription
from missiond.common.time_slice import SlicedQueue
from missiond.core.tasks.lease import Lease
from missiond.core.tasks.owner import App, Owner
from missiond.daemon.shortage import OUT_OF
from missiond.errors import CallerVerificationFailed, InvalidParameter, MemoryFailed
from missiond.host.processes.pid_namespaces import UnknownNumber, meant_by
from missiond.host.processes.processes import ExitWatch, Process, ProcessWatch, inspect

Gone = Callable[[Lease], None]


class Owners:
    """One watch of the process, and one of the connection where the lease has one."""

    def __init__(self, processes: ProcessWatch, connections: Callers) -> None:
        self._processes = processes
        self._connections = connections
        self._watches: dict[str, list[ExitWatch | Subscription]] = {}
        self._callers: dict[str, Process] = {}
        self._gone = SlicedQueue()
        """A session that ends, or one process with a thousand tasks, holds nobody else up."""

    def caller(self, name: str, pid: int, uid: int) -> Owner:
        """Return the sender of a call as an owner, inspected once for each connection.

        Raises CallerVerificationFailed where the process is gone already.
        """
        process = self._callers.get(name)
        if process is None:
            process = self._inspect(pid)
            if uid not in (0, process.uid):
                raise CallerVerificationFailed(f"process {pid} is not the one that called")
            self._callers[name] = process
            self._connections.on_vanish(name, lambda: self._forget(name))
        return _owner(process, uid, connection=name)

    def named(self, pid: int, caller: int) -> Owner:
        """Return the process `pid`, as numbered for the caller, as an owner.

        Raises InvalidParameter for pid 0, CallerVerificationFailed where there is no such process.
        """
        if pid == 0:
            raise InvalidParameter("pid must be that of a process; leave it out to mean the caller")
        try:
            pid = meant_by(caller, pid)
        except UnknownNumber:
            raise CallerVerificationFailed(
                f"the caller has a pid namespace of its own, whose process {pid} can't be told from here; "
                "leave pid out, or name the caller or a process that started it"
            ) from None
        except ProcessLookupError:
            raise CallerVerificationFailed(f"process {caller}, which called, has exited") from None
        except OSError as error:
            raise _out_of(error) from error
        process = self._inspect(pid)
        return _owner(process, process.uid, connection=None)

    def watch(self, lease: Lease, gone: Gone) -> None:
        """Call `gone(lease)` once the lease's owner is gone.

        Raises CallerVerificationFailed where it is gone already, MemoryFailed without an fd left for it.
        """
        owner = lease.owner

        def tell() -> None:
            self._gone.add(told)

        def told() -> None:
            if self._watches.get(lease.key) is watches:
                gone(lease)

        try:
            watches: list[ExitWatch | Subscription] = [
                self._processes.watch(owner.pid, owner.start_ticks, tell)
            ]
        except ProcessLookupError:
            raise CallerVerificationFailed(f"process {owner.pid} exited") from None
        except OSError as error:
            raise _out_of(error) from error
        if owner.connection is not None:
            watches.append(self._connections.on_vanish(owner.connection, tell))
        self._watches[lease.key] = watches

    def unwatch(self, lease: Lease) -> None:
        """Stop watching for this lease."""
        for watch in self._watches.pop(lease.key, ()):
            watch.close()

    def close(self) -> None:
        """Stop watching all."""
        self._gone.close()
        self._processes.close()

    def _forget(self, name: str) -> None:
        self._callers.pop(name, None)

    def _inspect(self, pid: int) -> Process:
        try:
            return inspect(pid)
        except ProcessLookupError:
            raise CallerVerificationFailed(f"no process {pid} on this host; name a live one") from None
        except OSError as error:
            raise _out_of(error) from error


def _out_of(error: OSError) -> Exception:
    """Return MemoryFailed where the host has no more of something, other errors unchanged."""
    if error.errno in OUT_OF:
        return MemoryFailed(f"the agent has no more of what watching a process takes: {error.strerror}")
    return error


def _owner(process: Process, uid: int, *, connection: str | None) -> Owner:
    return Owner(process.pid, process.start_ticks, App(uid, process.app_id), connection, process.unit)
