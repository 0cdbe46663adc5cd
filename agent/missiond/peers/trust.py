# SPDX-License-Identifier: Apache-2.0
"""Who is trusted: one JSON file for each peer, in a directory that only this unit reads."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from missiond.peers.transport import certificate as certificates
from missiond.peers.transport.address import parse_address
from missiond.store import safe_files

SYNC, CONTINUE = "sync", "continue"
PERMISSIONS = (SYNC, CONTINUE)
"""What a peer may be allowed: to see the missions of this host, and to hand missions over.

`continue` is for both directions of a hand-over that the peer begins: it may start programs here, and take
missions of this host away to itself.
"""
MOST_PEERS = 1024
MOST_ADDRESSES = 8

_VERSION = 1
_FILE_LIMIT = 32_768
_SUFFIX = ".json"
_LOGGER = logging.getLogger(__name__)


class TrustError(Exception):
    """A peer can't be trusted as asked; `str()` says why, for people."""


@dataclass(frozen=True, slots=True)
class TrustedPeer:
    """A device that people trust; `certificate` (DER) is None until it has shown the one of its id."""

    device_id: str
    name: str = ""
    """What people call it; empty where they leave that to itself."""
    certificate: bytes | None = None
    addresses: tuple[str, ...] = ()
    """Where it always is, as `host:port`; others are discovered."""
    permissions: tuple[str, ...] = (SYNC,)
    own_name: str = ""
    """What it calls itself, as it said last."""


class TrustStore:
    """The peers, in memory and on disk; every change is on disk before it counts."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._peers: dict[str, TrustedPeer] = {}
        self._subjects: dict[bytes, str] = {}

    def load(self) -> None:
        """Read all files; one that can't be used is logged and set aside. Raises OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in sorted(self._directory.iterdir()):
            if path.suffix == ".tmp":
                path.unlink()
            elif path.suffix == _SUFFIX:
                self._load(path)

    def _load(self, path: Path) -> None:
        try:
            data = safe_files.read_regular(path, _FILE_LIMIT)
            peer = _decode(path.name.removesuffix(_SUFFIX), data)
            self._check(peer)
        except (OSError, ValueError, RecursionError, TrustError) as error:
            _LOGGER.error("the saved peer %.80r can't be used (%s), set aside", path.name, error)
            try:
                safe_files.set_aside(str(path))
            except OSError as second:
                _LOGGER.error("and can't be set aside: %s", second)
            return
        self._take(peer)

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[TrustedPeer]:
        return iter(list(self._peers.values()))

    def get(self, device_id: str) -> TrustedPeer | None:
        """Return the peer with this id."""
        return self._peers.get(device_id)

    def certificates(self) -> list[bytes]:
        """All that are known, DER."""
        return [peer.certificate for peer in self._peers.values() if peer.certificate is not None]

    def put(self, peer: TrustedPeer) -> None:
        """Add or change one; raises TrustError, and OSError where it can't be saved."""
        self._check(peer)
        safe_files.replace(str(self._directory / f"{peer.device_id}{_SUFFIX}"), _encode(peer))
        self._forget(peer.device_id)
        self._take(peer)

    def remove(self, device_id: str) -> None:
        """Trust it no longer; raises OSError where the file can't be removed."""
        (self._directory / f"{device_id}{_SUFFIX}").unlink(missing_ok=True)
        self._forget(device_id)

    def _check(self, peer: TrustedPeer) -> None:
        if peer.certificate is not None:
            try:
                subject = certificates.check(peer.certificate)
            except certificates.BadCertificate as error:
                raise TrustError(f"its certificate can't be used: {error}") from None
            if certificates.device_id(peer.certificate) != peer.device_id:
                raise TrustError("its certificate is of another device")
            # OpenSSL finds trusted certificates by subject: a copy of it would lock the other peer out
            if self._subjects.get(subject, peer.device_id) != peer.device_id:
                raise TrustError("its certificate has the name of another peer's")
        if peer.device_id not in self._peers and len(self._peers) >= MOST_PEERS:
            raise TrustError(f"there are {MOST_PEERS} peers already; unpair some")

    def _take(self, peer: TrustedPeer) -> None:
        self._peers[peer.device_id] = peer
        if peer.certificate is not None:
            self._subjects[certificates.subject(peer.certificate)] = peer.device_id

    def _forget(self, device_id: str) -> None:
        self._peers.pop(device_id, None)
        self._subjects = {name: of for name, of in self._subjects.items() if of != device_id}


def _encode(peer: TrustedPeer) -> bytes:
    record = {
        "version": _VERSION,
        "name": peer.name,
        "own_name": peer.own_name,
        "certificate": base64.b64encode(peer.certificate).decode() if peer.certificate is not None else None,
        "addresses": list(peer.addresses),
        "permissions": list(peer.permissions),
    }
    return json.dumps(record, indent=1).encode()


def _decode(device_id: str, data: bytes) -> TrustedPeer:
    """Read a record; raises ValueError where it is none of this version."""
    record: Any = json.loads(data.decode())
    if not certificates.is_device_id(device_id):
        raise ValueError("its name is no device id")
    if type(record) is not dict or type(record.get("name")) is not str or not _is_this_version(record):
        raise ValueError("not a peer of this version")
    name, own_name = _names(record)
    certificate = record.get("certificate")
    if certificate is not None:
        if type(certificate) is not str:
            raise ValueError("its certificate is no text")
        certificate = base64.b64decode(certificate, validate=True)
    addresses, permissions = _strings(record.get("addresses")), _strings(record.get("permissions"))
    for address in addresses:
        parse_address(address)
    if not set(permissions) <= set(PERMISSIONS):
        raise ValueError("an unknown permission")
    return TrustedPeer(device_id, name, certificate, addresses, permissions, own_name)


def _names(record: dict[str, Any]) -> tuple[str, str]:
    """What people call it and what it calls itself.

    Earlier releases kept one name, nearly always its own: a newer word of its own takes the place of that.
    """
    if "own_name" not in record:
        return "", record["name"]
    if type(record["own_name"]) is not str:
        raise ValueError("its name is no text")
    return record["name"], record["own_name"]


def _is_this_version(record: dict[str, Any]) -> bool:
    version = record.get("version")
    return type(version) is int and version == _VERSION


def _strings(value: Any) -> tuple[str, ...]:  # noqa: ANN401 (whatever JSON holds)
    if type(value) is not list or len(value) > MOST_ADDRESSES or any(type(item) is not str for item in value):
        raise ValueError("not a list of strings")
    return tuple(value)
