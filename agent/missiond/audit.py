# SPDX-License-Identifier: Apache-2.0
"""Records for administrators: an entry in the journal for each event.

`journalctl MESSAGE_ID=...` finds all of one kind, `journalctl MISSIOND_DEVICE=...` all about one device;
missiond(8) has the list. Without a journal they are ordinary lines of the log.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

import missiond
from missiond import journal

_NOTICE = 5
_LOGGER = logging.getLogger(__name__)


class Event(Enum):
    """Kinds of events; the value is the MESSAGE_ID (systemd.journal-fields(7)), for ever."""

    TRUSTED = "9894645cc17f4c1488bfa7ffc330e749"
    DISTRUSTED = "0a7a2d5d79e244368631a5a10bcd0585"
    PERMITTED = "aee9a5a15a094a1c82b78676340c4e7e"
    PAIRING_FAILED = "b2d68b4ed91b4ee7b6d258f1090d5cae"
    MISSION_CAME = "fc14bdbf4c4043fdb7babd2a662bc2d4"
    MISSION_WENT = "52a9b36ed1164d92a71fc49dfe2876a1"
    MISSION_REFUSED = "2b26b40b317f4ffe813546b68d62bd2f"


def trusted(device: str, name: str, uid: int | None, how: str) -> None:
    """Record new trust in a device, asked for by `uid` (None: unknown)."""
    record(
        Event.TRUSTED, f"{_who(uid)} trusts {_shown(device, name)}: {how}",
        device=device, device_name=name, uid=uid, reason=how,
    )  # fmt: skip


def distrusted(device: str, name: str, uid: int | None, why: str) -> None:
    """Record the end of trust in a device, for the reason `why`."""
    record(
        Event.DISTRUSTED, f"{_who(uid)} trusts {_shown(device, name)} no longer: {why}",
        device=device, device_name=name, uid=uid, reason=why,
    )  # fmt: skip


def permitted(device: str, name: str, uid: int | None, permissions: Sequence[str]) -> None:
    """Record the new permissions of a device: words of `sync` and `continue`."""
    words = " ".join(permissions)
    record(
        Event.PERMITTED, f"{_who(uid)} lets {_shown(device, name)} do here: {words or 'nothing'}",
        device=device, device_name=name, uid=uid, permissions=words,
    )  # fmt: skip


def pairing_failed(device: str, name: str, why: str) -> None:
    """Record a pairing without trust in the end, begun by another host or by people here."""
    record(
        Event.PAIRING_FAILED, f"a pairing with {_shown(device, name)} failed: {why}",
        device=device, device_name=name, reason=why,
    )  # fmt: skip


def mission_came(device: str, name: str, uid: int, application: str, mission: int) -> None:
    """Record the arrival of a mission, for the user `uid` and as mission `mission`."""
    record(
        Event.MISSION_CAME, f"{application} of uid {uid} came from {_shown(device, name)}",
        device=device, device_name=name, uid=uid, application=application, mission=mission,
    )  # fmt: skip


def mission_went(device: str, name: str, uid: int, application: str, mission: int) -> None:
    """Record the departure of mission `mission` of the user `uid`."""
    record(
        Event.MISSION_WENT, f"{application} of uid {uid} went to {_shown(device, name)}",
        device=device, device_name=name, uid=uid, application=application, mission=mission,
    )  # fmt: skip


def mission_refused(device: str, name: str, uid: int | None, application: str, why: str) -> None:
    """Record a refusal to let a mission in or go."""
    record(
        Event.MISSION_REFUSED, f"{application or 'a mission'} does not go on, {_shown(device, name)}: {why}",
        device=device, device_name=name, uid=uid, application=application, reason=why,
    )  # fmt: skip


def record(event: Event, text: str, **fields: object) -> None:
    """Write one entry; `fields` become MISSIOND_NAME, empty ones and None are left out.

    Texts of others have to be fit for a terminal already. Never raises for the journal's sake.
    """
    if "JOURNAL_STREAM" in os.environ:
        found = {
            f"MISSIOND_{key.upper()}": str(value) for key, value in fields.items() if value not in (None, "")
        }
        always = {
            "MESSAGE": text,
            "MESSAGE_ID": event.value,
            "PRIORITY": str(_NOTICE),
            "SYSLOG_IDENTIFIER": _program(),
        }
        with contextlib.suppress(OSError):
            journal.send(always | found)
            return
    _LOGGER.info("%s", text)


def _program() -> str:
    """Return the name of the unit's program; Python has a file of the package there instead, after `-m`."""
    program, above = Path(sys.argv[0]), Path(missiond.__file__).parents[1]
    if program.name == "__main__.py" and program.is_relative_to(above):
        return "-".join(program.parent.relative_to(above).parts)
    return program.name


def _who(uid: int | None) -> str:
    return "this host" if uid is None else f"uid {uid}"


def _shown(device: str, name: str) -> str:
    return f"{name} ({device[:16]})" if name else device[:16]
