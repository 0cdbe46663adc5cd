# SPDX-License-Identifier: Apache-2.0
"""`missiond-peers`: started by systemd where `missionctl peers enable` was said."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import missiond
from missiond.logs import set_up


def main() -> int:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(
        prog="missiond-peers",
        description="Finds other hosts and keeps mission lists in step. Started by systemd; see missiond(8).",
    )
    parser.add_argument(
        "--session", action="store_true", help="serve the session bus, to try it without root"
    )
    parser.add_argument("--port", type=int, help="listen there, instead of Port= in missiond.conf(5)")
    parser.add_argument(
        "--listen", action="append", metavar="ADDRESS", help="listen on this address, instead of Listen="
    )
    parser.add_argument("--debug", action="store_true", help="log each attempt to reach a peer")
    parser.add_argument("--version", action="version", version=f"missiond {missiond.__version__}")
    arguments = parser.parse_args()
    set_up(debug=arguments.debug)

    from missiond.peers.daemon import Setup, run  # noqa: PLC0415  (--help and --version need none of it)

    hosts = tuple(arguments.listen) if arguments.listen else None
    setup = Setup(_state(session=arguments.session), arguments.session, arguments.port, hosts)
    return run(setup, lambda text: print(text, file=sys.stderr))


def _state(*, session: bool) -> Path:
    """Return the directory of StateDirectory= (systemd.exec(5)), or a place of the user's own."""
    if session:
        return Path(os.environ.get("XDG_STATE_HOME", Path("~/.local/state").expanduser()), "missiond-peers")
    return Path(os.environ.get("STATE_DIRECTORY", "/var/lib/missiond-peers").split(":")[0])


if __name__ == "__main__":
    sys.exit(main())
