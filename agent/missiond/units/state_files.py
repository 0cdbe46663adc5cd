# SPDX-License-Identifier: Apache-2.0
"""The files for a mission, placed by the user in the user's own runtime directory.

`/run/user/UID/missiond/TRANSFER/` goes when the unit ends that has it (RuntimeDirectory=, systemd.exec(5)).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from missiond.units.requests import NAMES

PLACE = "missiond"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20


class HandedFiles:
    """The directory of one hand-over, reached without following links."""

    def __init__(self, runtime: Path, transfer: str) -> None:
        self.directory = runtime / PLACE / transfer
        self._runtime = runtime
        self._transfer = transfer
        # of this process alone: another one may be asked about the same hand-over
        self._staged = f"{transfer}.{os.getpid()}"

    def place(self, contents: Mapping[str, tuple[int, int]]) -> dict[str, Path]:
        """Write the files, and return paths by name. `contents` has descriptor and size for each name.

        What an earlier attempt left is replaced. Raises OSError, and leaves nothing then: ELOOP or ENOTDIR
        where a link is in the way, EBADMSG where there is less to read than was said.
        """
        return self._place(self._transfer, contents)

    def stage(self, contents: Mapping[str, tuple[int, int]]) -> dict[str, Path]:
        """Write the files beside the final place, as `place`; the paths are the final ones."""
        return self._place(self._staged, contents)

    def settle(self) -> None:
        """Move staged files to the final place. Raises OSError, FileNotFoundError without staged files."""
        with self._open_place() as place:
            _remove(self._transfer, place)
            os.rename(self._staged, self._transfer, src_dir_fd=place, dst_dir_fd=place)

    def unstage(self) -> None:
        """Remove the staged files, if there are any. Raises OSError."""
        with contextlib.suppress(FileNotFoundError), self._open_place(make=False) as place:
            _remove(self._staged, place)

    def _place(self, where: str, contents: Mapping[str, tuple[int, int]]) -> dict[str, Path]:
        with self._open_place() as place:
            _remove(where, place)
            os.mkdir(where, 0o700, dir_fd=place)
            try:
                directory = os.open(where, _DIRECTORY, dir_fd=place)
                try:
                    for name, (source, size) in contents.items():
                        _copy(source, size, name, directory)
                finally:
                    os.close(directory)
            except BaseException:
                _remove(where, place)
                raise
        return {name: self.directory / name for name in contents}

    def remove(self) -> None:
        """Remove the files, if there are any. Raises OSError."""
        with contextlib.suppress(FileNotFoundError), self._open_place(make=False) as place:
            _remove(self._transfer, place)

    @contextlib.contextmanager
    def _open_place(self, *, make: bool = True) -> Iterator[int]:
        runtime = os.open(self._runtime, _DIRECTORY)
        try:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(PLACE, 0o700, dir_fd=runtime)
            place = os.open(PLACE, _DIRECTORY, dir_fd=runtime)
        finally:
            os.close(runtime)
        try:
            if os.fstat(place).st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, f"{PLACE} in the runtime directory is somebody else's")
            os.fchmod(place, 0o700)
            yield place
        finally:
            os.close(place)


def _copy(source: int, size: int, name: str, directory: int) -> None:
    if not stat.S_ISREG(os.fstat(source).st_mode):
        raise OSError(errno.EINVAL, f"{name} is not a regular file")
    target = os.open(name, _NEW, 0o600, dir_fd=directory)
    try:
        at = 0
        while at < size:
            data = os.pread(source, min(_CHUNK, size - at), at)
            if not data:
                raise OSError(errno.EBADMSG, f"{name} has {at} bytes instead of {size}")
            at += len(data)
            view = memoryview(data)
            while view:
                view = view[os.write(target, view) :]
    finally:
        os.close(target)


def _remove(transfer: str, place: int) -> None:
    try:
        directory = os.open(transfer, _DIRECTORY, dir_fd=place)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        os.unlink(transfer, dir_fd=place)
        return
    try:
        for name in NAMES:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
    finally:
        os.close(directory)
    os.rmdir(transfer, dir_fd=place)
