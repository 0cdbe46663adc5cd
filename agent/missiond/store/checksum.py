# SPDX-License-Identifier: Apache-2.0
"""Checksums of states, without what they take as long as there is none."""

from __future__ import annotations

from typing import Protocol


class Checksum(Protocol):
    """A checksum that grows."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take in more."""

    def hexdigest(self) -> str:
        """Return it in lower-case hexadecimal."""
        ...


def sha256() -> Checksum:
    """Begin one. The first loads OpenSSL, which is megabytes that an agent at rest does without."""
    import hashlib  # noqa: PLC0415

    return hashlib.sha256()
