# SPDX-License-Identifier: Apache-2.0
"""The agent's notes, read and written by root as the agent would."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from missiond.store.record_store import RecordStore


class OwnedFiles(RecordStore):
    """Acts as the user whose directory it is: what is in it leads root nowhere, and stays that user's."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._owner = directory.stat().st_uid

    def save(self, kind: str, lease_id: int, record: dict[str, Any]) -> None:
        """As LeaseFiles."""
        with self._as_owner():
            super().save(kind, lease_id, record)

    def remove(self, kind: str, lease_id: int) -> None:
        """As LeaseFiles."""
        with self._as_owner():
            super().remove(kind, lease_id)

    def load(self, kind: str) -> list[tuple[int, dict[str, Any]]]:
        """As LeaseFiles."""
        with self._as_owner():
            return super().load(kind)

    def reject(self, kind: str, lease_id: int, error: Exception) -> None:
        """As LeaseFiles."""
        with self._as_owner():
            super().reject(kind, lease_id, error)

    @contextlib.contextmanager
    def _as_owner(self) -> Iterator[None]:
        before = os.geteuid()
        if before == self._owner:
            yield
            return
        os.seteuid(self._owner)
        try:
            yield
        finally:
            os.seteuid(before)
