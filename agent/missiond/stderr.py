# SPDX-License-Identifier: Apache-2.0
"""Standard error of a service, without a wait for the reader."""

from __future__ import annotations

import io
import os
import select


class Stderr(io.TextIOBase):
    """A text stream, dropping whole writes while the reader is stuck.

    The first write after that says how many lines were lost, with `mark` in front. Nothing is raised for the
    file descriptor's sake. Bytes of one write at most are kept until they are taken.
    """

    def __init__(self, fd: int = 2, mark: str = "") -> None:
        self._fd = fd
        self._mark = mark
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._line = ""
        self._rest = b""
        self._lost = 0

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Write whole lines, or count lost ones; an unfinished line is kept."""
        lines, newline, self._line = (self._line + text).rpartition("\n")
        if newline:
            self._put(lines + newline)
        return len(text)

    def flush(self) -> None:
        """Write the rest of the last lines as far as possible without a wait."""
        # A pipe or socket that can be written to takes this much without a wait; its other end is ours alone.
        try:
            while self._rest and self._poll.poll(0):
                self._rest = self._rest[os.write(self._fd, self._rest[: select.PIPE_BUF]) :]
        except BlockingIOError:
            pass
        except OSError:  # whoever read it is gone
            self._rest = b""

    def _put(self, lines: str) -> None:
        self.flush()
        if self._rest:
            self._lost += lines.count("\n")
            return
        if self._lost:
            lines = f"{self._mark}{self._lost} lines of the log were lost, which nobody took\n{lines}"
            self._lost = 0
        self._rest = lines.encode(errors="backslashreplace")
        self.flush()
