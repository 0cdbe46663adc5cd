# SPDX-License-Identifier: Apache-2.0
"""Checksums of states, loaded on first use."""

from __future__ import annotations

from typing import Protocol


class Checksum(Protocol):
    """An incremental checksum."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take in more."""

    def hexdigest(self) -> str:
        """Return the digest in lower-case hexadecimal."""
        ...


def sha256() -> Checksum:
    """Return a new SHA-256 checksum.

    The first one loads OpenSSL: megabytes, spared while the agent is at rest.
    """
    import hashlib  # noqa: PLC0415

    return hashlib.sha256()
