# SPDX-License-Identifier: Apache-2.0
"""As whom a mission of another host goes on here."""

from __future__ import annotations

from collections.abc import Mapping

from missiond.errors import PermissionDenied

NOBODY = "-"
"""In the table, the user here of one whose missions are refused."""


def user_here(user_there: str, table: Mapping[str, str]) -> str:
    """Name the user here: what the table says, else what it says of `*`, else the same name.

    Raises PermissionDenied where that is nobody.
    """
    here = table.get(user_there) or table.get("*") or user_there
    if not here or here == NOBODY:
        raise PermissionDenied(
            f"missions of {user_there!r:.60} do not go on here; see [Continue] UserMap= in missiond.conf(5)"
        )
    return here
