# SPDX-License-Identifier: Apache-2.0
"""A state written to a file by another process, with a growing checksum."""

from __future__ import annotations

import os

from missiond.store import checksum as digests
from missiond.store.handover_state_files import WrongState

_BLOCK = 1 << 20


class StatePart:
    """The part of a state behind `fd`, a descriptor of the caller. Methods block: one thread at a time."""

    def __init__(self, transfer: str, fd: int) -> None:
        self.transfer = transfer
        self.fd = fd
        self._digest = digests.sha256()
        self._at = 0

    def follow(self, fd: int, upto: int) -> None:
        """Add the bytes up to `upto`, final by now, to the checksum, and flush the file to the disk.

        Both take their time, which is that of the link as long as more is to come. Closes `fd`, which is a
        duplicate: the part may be given up meanwhile. Raises OSError.
        """
        try:
            self._take(fd, upto)
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def check(self, size: int, sha256: str) -> None:
        """Check size and checksum; raises WrongState, OSError."""
        self._take(self.fd, size + 1)
        if self._at != size:
            raise WrongState(f"{os.fstat(self.fd).st_size} bytes came of {size}")
        if self._digest.hexdigest() != sha256:
            raise WrongState("the checksum is wrong")

    def _take(self, fd: int, upto: int) -> None:
        room = bytearray(min(_BLOCK, max(upto - self._at, 0)))
        with memoryview(room) as view:
            while count := os.preadv(fd, [view[: max(upto - self._at, 0)]], self._at):
                self._digest.update(view[:count])
                self._at += count
