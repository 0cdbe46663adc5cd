# SPDX-License-Identifier: Apache-2.0
"""Leases as the plain data of their state files."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any, TypeVar

from missiond.core.tasks.continuous import KEEP_ALIVE, LONGEST, ContinuousTask, Progress
from missiond.core.tasks.lease import Lease
from missiond.core.tasks.locks import WHAT_ORDER, What, parse_inhibit
from missiond.core.tasks.modes import BackgroundMode
from missiond.core.tasks.owner import App, Owner
from missiond.core.tasks.suspend_reason import SuspendReason
from missiond.core.tasks.transient import TransientTask
from missiond.core.tasks.want import MOST_URIS, Want
from missiond.errors import InvalidParameter
from missiond.store.checks import MOST_PID, MOST_TIME, MOST_UID, number, text, unique_name

Record = dict[str, Any]
Value = TypeVar("Value")

_MOST = 2**31 - 1
_LONGEST = 2**32 - 1
"""Milliseconds of a request: more can't be asked for, nor be configured."""


def to_record(lease: Lease) -> Record:
    """Everything about the lease but its id, which names the file."""
    # by hand: dataclasses.asdict() copies deeply and is most of what saving a lease would cost
    record = {field.name: getattr(lease, field.name) for field in fields(lease) if field.name != "id"}
    owner, requester = lease.owner, lease.requester
    record["owner"] = {
        "pid": owner.pid,
        "start_ticks": owner.start_ticks,
        "app": {"uid": owner.app.uid, "app_id": owner.app.app_id},
        "connection": owner.connection,
        "unit": owner.unit,
    }
    record["requester"] = {"uid": requester.uid, "app_id": requester.app_id}
    if isinstance(lease, ContinuousTask):
        record["modes"] = [int(mode) for mode in lease.modes]
        record["suspensions"] = [int(reason) for reason in lease.suspensions]
        record["progress"] = asdict(lease.progress)
        if lease.want is not None:
            record["want"] = asdict(lease.want) | {"parameter": lease.want.parameter.hex()}
    return record


def to_lease(kind: str, lease_id: int, record: Record, now: int) -> TransientTask | ContinuousTask:
    """The lease that the record tells of, which began before `now`; raises ValueError for no such record."""
    try:
        common = {
            "id": lease_id,
            "owner": _owner(record["owner"]),
            "requester": _app(record["requester"]),
            "started": number(record["started"], 0, now),
        }
        return _transient(common, record) if kind == TransientTask.kind else _continuous(common, record)
    except (KeyError, TypeError, ValueError, InvalidParameter) as error:
        raise ValueError(f"not a record of a {kind} task: {error!r}") from error


def _is(kind: type[Value], value: object) -> Value:
    if type(value) is not kind:
        raise TypeError(f"{value!r:.40} is no {kind.__name__}")
    return value


def _app(record: Record) -> App:
    return App(number(record["uid"], 0, MOST_UID), text(record["app_id"]))


def _owner(record: Record) -> Owner:
    connection, unit = record["connection"], record["unit"]
    return Owner(
        pid=number(record["pid"], 1, MOST_PID),
        start_ticks=number(record["start_ticks"], 0, MOST_TIME),
        app=_app(record["app"]),
        connection=None if connection is None else unique_name(connection),
        unit=None if unit is None else text(unit),
    )


def _what(items: object) -> What:
    what = tuple(_is(list, items))
    if not what or not set(what) <= set(WHAT_ORDER):
        raise TypeError(f"{what!r:.40} is no lock")
    return what


def _transient(common: Record, record: Record) -> TransientTask:
    deadline = number(record["deadline"], common["started"], common["started"] + _LONGEST)
    return TransientTask(
        **common,
        reason=text(record["reason"]),
        deadline=deadline,
        what=_what(record["what"]),
        warned=_is(bool, record["warned"]),
        cut=_is(bool, record["cut"]),
    )


def _want(record: Record | None) -> Want | None:
    if record is None:
        return None
    texts = {name: text(record[name]) for name in ("desktop_id", "uri", "bus_name", "object_path", "action")}
    uris = tuple(text(uri) for uri in _is(list, record["uris"])[:MOST_URIS])
    return Want(**texts, uris=uris, parameter=bytes.fromhex(text(record["parameter"])))


def _continuous(common: Record, record: Record) -> ContinuousTask:
    progress, deadline = record["progress"], record.get("deadline")
    if record["keep_alive"] not in KEEP_ALIVE:
        raise TypeError(f"{record['keep_alive']!r:.40} is no way to keep alive")
    return ContinuousTask(
        **common,
        context=text(record["context"]),
        modes=tuple(BackgroundMode(_is(int, mode)) for mode in record["modes"]),
        what=_what(record["what"]),
        keep_alive=record["keep_alive"],
        title=text(record["title"]),
        text=text(record["text"]),
        notification_id=number(record["notification_id"], -1, _MOST),
        suspensions=tuple(SuspendReason(_is(int, reason)) for reason in record.get("suspensions", [])),
        activating=_is(bool, record.get("activating", False)),
        progress=Progress(
            text(progress["title"]), text(progress["file_name"]), number(progress["value"], 0, _MOST)
        ),
        restarts=number(record.get("restarts", 0), 0, _MOST),
        inhibit=parse_inhibit(text(item) for item in _is(list, record.get("inhibit", []))),
        deadline=None
        if deadline is None
        else number(deadline, common["started"], common["started"] + LONGEST),
        want=_want(record.get("want")),
    )
