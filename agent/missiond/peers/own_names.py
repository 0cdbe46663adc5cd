# SPDX-License-Identifier: Apache-2.0
"""Peers' own names: the newest word of each peer counts."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

from missiond.core.tasks.locks import printable
from missiond.errors import AgentError
from missiond.peers.device import Device, Devices
from missiond.peers.link import NAME_LENGTH
from missiond.peers.timers import Timers
from missiond.peers.trust import TrustedPeer, TrustError

_GAP = 1000
"""Milliseconds between two names of one device: each is written to the disk, and told to everybody."""
_LOGGER = logging.getLogger(__name__)


class OwnNames:
    """Takes the first name of a device at once, and the last of the names within the gap after.

    `keep` saves an entry of the trust store; it may raise TrustError and AgentError.
    """

    def __init__(self, devices: Devices, timers: Timers, keep: Callable[[TrustedPeer], object]) -> None:
        self._devices = devices
        self._timers = timers
        self._keep = keep
        self._waiting: dict[str, str] = {}
        """Device id to the name that follows after the gap; empty where none does."""

    def heard(self, device: Device, name: str) -> None:
        """Take up the own name of a device proved by TLS."""
        name = printable(name, NAME_LENGTH).strip()
        if device.device_id in self._waiting:
            self._waiting[device.device_id] = name
        elif name:
            self._take(device, name)

    def _take(self, device: Device, name: str) -> None:
        peer = device.peer
        if name == device.name and (peer is None or name == peer.own_name):
            return
        device_id = device.device_id
        self._waiting[device_id] = ""
        self._timers.after(("name", device_id), _GAP, lambda: self._rested(device_id))
        device.name = name
        if peer is not None:
            try:
                self._keep(dataclasses.replace(peer, own_name=name))
            except (TrustError, AgentError) as error:
                _LOGGER.warning("the name of %s can't be kept: %s", device.shown, error)
        self._devices.touch(device)

    def _rested(self, device_id: str) -> None:
        name, device = self._waiting.pop(device_id), self._devices.get(device_id)
        if name and device is not None:
            self._take(device, name)
