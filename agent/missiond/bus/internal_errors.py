# SPDX-License-Identifier: Apache-2.0
"""Internal errors: a traceback for the journal, a short id for the caller."""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict
from types import TracebackType

_REPEAT = 60.0
_REMEMBERED = 64

_logger = logging.getLogger(__name__)


class Faults:
    """Logs each different fault once a minute; repetitions share the id of the one that was logged."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[object, ...], tuple[str, float]] = OrderedDict()

    def report(self, what: str, error: BaseException) -> str:
        """Log `error`, which happened in `what`, and return its log id, 8 hex digits."""
        key = (what, type(error), *_origin(error.__traceback__))
        now = time.monotonic()
        log_id, logged = self._seen.get(key, ("", 0.0))
        if log_id and now - logged < _REPEAT:
            return log_id
        log_id = os.urandom(4).hex()
        self._seen[key] = (log_id, now)
        self._seen.move_to_end(key)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        _logger.error("internal error in %s, log id %s", what, log_id, exc_info=error)
        return log_id


def is_exhausted(error: BaseException) -> bool:
    """Whether memory ran out; Python says so by a SystemError as well, where it lost the MemoryError."""
    return isinstance(error, MemoryError) or isinstance(error.__cause__ or error.__context__, MemoryError)


def _origin(traceback: TracebackType | None) -> tuple[object, ...]:
    """File and line of the innermost frame."""
    if traceback is None:
        return ()
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
