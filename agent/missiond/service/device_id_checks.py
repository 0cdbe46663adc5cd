# SPDX-License-Identifier: Apache-2.0
"""Checks of device ids in arguments, before any question for permission."""

from __future__ import annotations

import re

from missiond.daemon.peering.peers_client import PeersClient
from missiond.errors import InvalidParameter

_DEVICE_ID = re.compile("[0-9a-f]{64}")


def check_form(device_id: str) -> None:
    """Raise InvalidParameter unless this can be the id of a device."""
    if not device_id:
        raise InvalidParameter("device_id is empty, which means this host, and that makes no sense here")
    if not _DEVICE_ID.fullmatch(device_id):
        raise InvalidParameter("device_id must be the 64 lower-case hexadecimal digits of a device's id")


async def check_other(device_id: str, unit: PeersClient) -> None:
    """Raise InvalidParameter unless this is the id of another device.

    Raises DistributedServiceFailed where peers are off.
    """
    check_form(device_id)
    await unit.ready()
    if device_id == unit.local_id:
        raise InvalidParameter("device_id is that of this host; name another one")


async def check_known(device_id: str, unit: PeersClient) -> None:
    """Raise InvalidParameter unless this is the id of another device known here; as check_other."""
    await check_other(device_id, unit)
    if not await unit.knows(device_id):
        raise InvalidParameter("no such device is known here; `missionctl peers list` shows those that are")
