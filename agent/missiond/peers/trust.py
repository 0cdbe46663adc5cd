# SPDX-License-Identifier: Apache-2.0
"""The trusted peers: one JSON file a peer, in a directory for this unit alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from missiond.core import schema
from missiond.core.schema import BadValue, Base64, Checked, Later, Length, Unwritten, Words
from missiond.peers.transport import certificate as certificates
from missiond.peers.transport.address import parse_address
from missiond.store.saved_file import Json, SavedFile

SYNC, CONTINUE = "sync", "continue"
PERMISSIONS = (SYNC, CONTINUE)
"""Permissions of a peer: to see the missions of this host, and to hand missions over.

`continue` is for both directions of a hand-over that the peer begins: it may start programs here, and take
missions of this host away to itself.
"""
MOST_PEERS = 1024
MOST_ADDRESSES = 8

_SUFFIX = ".json"
_LOGGER = logging.getLogger(__name__)


class TrustError(Exception):
    """A peer can't be trusted as asked; `str()` says why, for people."""


def _address(value: str) -> str:
    try:
        parse_address(value)
    except ValueError as error:
        raise BadValue(str(error)) from None
    return value


@dataclass(frozen=True, slots=True)
class TrustedPeer:
    """A device trusted by people; `certificate` (DER) is None until shown by the device."""

    device_id: Unwritten[str]
    name: str = ""
    """The name given by people; empty for the device's own."""
    certificate: Annotated[bytes, Base64()] | None = None
    addresses: Annotated[tuple[Annotated[str, Checked(_address)], ...], Length(MOST_ADDRESSES)] = ()
    """Fixed addresses, as `host:port`; others are discovered."""
    permissions: Annotated[tuple[Annotated[str, Words(PERMISSIONS)], ...], Length(MOST_ADDRESSES)] = (SYNC,)
    own_name: Later[str] = ""
    """The device's own name, by the latest word."""


class TrustStore:
    """The peers, in memory and on disk; a change counts once written."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._peers: dict[str, TrustedPeer] = {}
        self._subjects: dict[bytes, str] = {}

    def load(self) -> None:
        """Read all files; an unusable one is logged and set aside. Raises OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in sorted(self._directory.iterdir()):
            if path.suffix == ".tmp":
                path.unlink()
            elif path.suffix == _SUFFIX:
                self._load(path)

    def _load(self, path: Path) -> None:
        peer = self._file(path.name.removesuffix(_SUFFIX)).read()
        if peer is not None:
            self._take(peer)

    def _file(self, device_id: str) -> SavedFile[TrustedPeer]:
        path = self._directory / f"{device_id}{_SUFFIX}"
        return SavedFile(path, lambda json: self._checked(_load(device_id, json)))

    def _checked(self, peer: TrustedPeer) -> TrustedPeer:
        try:
            self._check(peer)
        except TrustError as error:
            raise BadValue(str(error)) from None
        return peer

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[TrustedPeer]:
        return iter(list(self._peers.values()))

    def get(self, device_id: str) -> TrustedPeer | None:
        """Return the peer with this id."""
        return self._peers.get(device_id)

    def certificates(self) -> list[bytes]:
        """Return all known certificates, DER."""
        return [peer.certificate for peer in self._peers.values() if peer.certificate is not None]

    def put(self, peer: TrustedPeer) -> None:
        """Add or change a peer; raises TrustError, and OSError for a failure to save."""
        self._check(peer)
        self._file(peer.device_id).write(peer)
        self._forget(peer.device_id)
        self._take(peer)

    def remove(self, device_id: str) -> None:
        """Remove a peer; raises OSError for a failure to remove the file."""
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


def _load(device_id: str, json: Json) -> TrustedPeer:
    """Return the peer of a record; raises ValueError.

    Earlier releases kept one name, nearly always its own: a newer word of its own takes the place of that.
    """
    if not certificates.is_device_id(device_id):
        raise BadValue("its name is no device id")
    if "own_name" not in json:
        json = json | {"name": "", "own_name": json.get("name")}
    return schema.load(TrustedPeer, json, device_id=device_id)
