# SPDX-License-Identifier: Apache-2.0
"""The rule for persons: by the uid alone, or by a name in the user database.

The ranges are those of systemd's "Users, Groups, UIDs and GIDs on systemd Systems" and of login.defs(5).
From 65536 on numbers belong to whoever took them: directories (SSSD, winbind, FreeIPA) give them to people,
systemd and subuid(5) to containers. The first have names on this host, the others none.
"""

from __future__ import annotations

from collections.abc import Callable

FIRST = 1000
"""UID_MIN; lower uids are users of the system."""
_LAST_BY_NUMBER = 60513
"""People of systemd-homed end here; then come its mapped users, dynamic users of services, and nobody."""
_FIRST_LARGE = 65536
_LAST = 2**32 - 2
_FOREIGN = range(0x7FFE0000, 0x7FFF0000)
"""Owners of images' files, which run nothing of their own."""
_CONTAINERS = range(524288, 0x70000000)
_OF_MACHINES = "vu-"
"""systemd-machined names the users of its containers so: `vu-MACHINE-UID`."""


def may_be_named(uid: int) -> bool:
    """Whether the number alone leaves the owner open: a person's with a name, else a container's."""
    return _FIRST_LARGE <= uid <= _LAST and uid not in _FOREIGN


def is_person(uid: int, is_named: Callable[[int], bool], first: int = FIRST) -> bool:
    """Whether a uid belongs to a person; `is_named` is asked only where the number leaves the answer open.

    `first` is the lowest uid of people (MinimumUid= of missiond.conf(5)).
    """
    if uid < first:
        return False
    return uid <= _LAST_BY_NUMBER or (may_be_named(uid) and is_named(uid))


def is_own_name(uid: int, name: str) -> bool:
    """Whether a name was given to somebody, rather than made of the number."""
    return bool(name) and not (uid in _CONTAINERS and name.startswith(_OF_MACHINES))
