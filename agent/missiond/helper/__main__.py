# SPDX-License-Identifier: Apache-2.0
"""`missiond-helper`: started by systemd when the agent connects; see missiond(8)."""

from __future__ import annotations

import os
import pwd
import socket
import sys

from missiond.helper.processes import Users
from missiond.helper.service import HelperServer, carrier
from missiond.logs import set_up

AGENT = "missiond"
_FIRST_FD = 3


def main() -> int:
    """Serve the one socket from systemd."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        print("missiond-helper is started by missiond-helper.socket", file=sys.stderr)
        return 2
    set_up()
    try:
        peers = frozenset({0, pwd.getpwnam(AGENT).pw_uid})
        users = Users.with_system(os.environ.get("MISSIOND_SYSTEM_USERS", ""))
    except KeyError as error:
        print(f"missiond-helper can't start: {error.args[0]}", file=sys.stderr)
        return 1
    with socket.socket(fileno=_FIRST_FD) as listening:
        HelperServer(listening, peers, carrier(users)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
