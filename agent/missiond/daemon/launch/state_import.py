# SPDX-License-Identifier: Apache-2.0
"""State that programs hand over as files: copied, bounded, and then nobody else's."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from missiond.store import checksum as digests
from missiond.store.safe_files import write_all

_CHUNK = 1 << 20


class NotState(Exception):
    """What was handed over can't be state; the text says why, for the program."""


class TooLong(NotState):
    """It is longer than is taken here."""


@dataclass(frozen=True, slots=True)
class StateFile:
    """A regular file without a name, open for reading and writing; whoever has it closes it."""

    fd: int
    size: int
    sha256: str

    def close(self) -> None:
        """Give it up."""
        os.close(self.fd)


def copy(source: int, directory: Path, most: int) -> StateFile:
    """Copy all of a regular file, from its beginning, to the file system of `directory`; closes `source`.

    To be called in a thread: the file's own file system may take its time. Raises NotState, and OSError where
    it can't be kept here.
    """
    try:
        return _copy(source, directory, most)
    finally:
        os.close(source)


def _copy(source: int, directory: Path, most: int) -> StateFile:
    if not stat.S_ISREG(os.fstat(source).st_mode):
        raise NotState(
            "state is handed over as a regular file or as memory (memfd_create(2)), and as nothing else"
        )
    target = _nameless(directory)
    try:
        size, sha256 = _fill(target, source, most)
    except BaseException:
        os.close(target)
        raise
    return StateFile(target, size, sha256)


def _fill(target: int, source: int, most: int) -> tuple[int, str]:
    """Copy, with the checksum of what was copied, which a thread of its own makes meanwhile."""
    from concurrent.futures import Future, ThreadPoolExecutor  # noqa: PLC0415  (an agent at rest does without)

    digest = digests.sha256()
    size = 0
    rooms = [bytearray(_CHUNK), bytearray(_CHUNK)]
    with ThreadPoolExecutor(1, "digest") as thread:
        taken: Future[None] | None = None
        while count := _read(source, rooms[0], size):
            size += count
            if size > most:
                raise TooLong(
                    f"the state is longer than {most} bytes; see [Continue] StateMax= in missiond.conf(5)"
                )
            if taken is not None:
                taken.result()
            with memoryview(rooms[0]) as room:
                taken = thread.submit(_update, digest, room[:count])
                write_all(target, room[:count])
            rooms.reverse()
    return size, digest.hexdigest()


def _update(digest: digests.Checksum, data: memoryview) -> None:
    with data:
        digest.update(data)


def _read(source: int, room: bytearray, at: int) -> int:
    try:
        return os.preadv(source, [room], at)
    except OSError as error:
        raise NotState(
            f"the file with the state can't be read: {error.strerror}; open it for reading"
        ) from None


def _nameless(directory: Path) -> int:
    """Open a file that is gone with its last descriptor; raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    import tempfile  # noqa: PLC0415 (much comes with it that is not needed at rest)

    fd, name = tempfile.mkstemp(dir=directory)
    os.unlink(name)  # noqa: PTH108 (a text)
    return fd
