# SPDX-License-Identifier: Apache-2.0
"""Leases as JSON, for state files."""

from __future__ import annotations

from dataclasses import dataclass

from missiond.core import schema
from missiond.core.tasks.continuous import LONGEST, ContinuousTask
from missiond.core.tasks.lease import Lease
from missiond.core.tasks.transient import TransientTask
from missiond.store.record_store import RecordStore, Store
from missiond.store.saved_file import Json

_LONGEST_REQUEST = 2**32 - 1
"""Milliseconds of a request: more can't be asked for, nor be configured."""


@dataclass(frozen=True, slots=True)
class SavedLease:
    """A lease, the bus of the owner's connection, and the time of boot."""

    lease: Lease
    bus: object = ""
    boot: object = None
    """ns since the epoch."""


LeaseStore = Store[SavedLease]


def lease_store(files: RecordStore, kind: str) -> LeaseStore:
    """Return the store of one kind of lease."""
    return Store(files, kind, lambda number, json: load(kind, number, json), dump)


def dump(saved: SavedLease) -> Json:
    """Return all of a lease but the id, the name of the file."""
    return schema.dump(saved.lease) | {"bus": saved.bus, "boot": saved.boot}


def load(kind: str, number: int, json: Json) -> SavedLease:
    """Return the lease of a record; raises ValueError."""
    lease: TransientTask | ContinuousTask
    if kind == TransientTask.kind:
        lease = schema.load(TransientTask, json, id=number)
        longest = _LONGEST_REQUEST
    else:
        lease = schema.load(ContinuousTask, json, id=number)
        longest = LONGEST
    if lease.deadline is not None and not lease.started <= lease.deadline <= lease.started + longest:
        raise schema.BadValue("a deadline that could not be asked for")
    return SavedLease(lease, json.get("bus", ""), json.get("boot"))
