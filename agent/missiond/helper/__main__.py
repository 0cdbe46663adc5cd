# SPDX-License-Identifier: Apache-2.0
"""`missiond-helper`: started by systemd when the agent connects; see missiond(8)."""

from __future__ import annotations

import logging
import os
import pwd
import socket
import sys

from missiond.helper.processes import Users
from missiond.helper.service import Service, carrier

AGENT = "missiond"
_FIRST_FD = 3


def main() -> int:
    """Serve the one socket that was handed over."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        print("missiond-helper is started by missiond-helper.socket", file=sys.stderr)
        return 2
    try:
        peers = frozenset({0, pwd.getpwnam(AGENT).pw_uid})
        users = Users(frozenset(_uid(word) for word in os.environ.get("MISSIOND_SYSTEM_USERS", "").split()))
    except KeyError as error:
        print(f"missiond-helper can't start: {error.args[0]}", file=sys.stderr)
        return 1
    with socket.socket(fileno=_FIRST_FD) as listening:
        Service(listening, peers, carrier(users)).run()
    return 0


def _uid(name: str) -> int:
    return int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid


if __name__ == "__main__":
    sys.exit(main())
