# SPDX-License-Identifier: Apache-2.0
"""`missiond`: the agent itself; systemd starts it, people use `missionctl`."""

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
        prog="missiond",
        description="Keeps the host awake for background tasks. Started by systemd; see missiond(8).",
    )
    parser.add_argument(
        "--session", action="store_true", help="serve the session bus, to try it without root"
    )
    parser.add_argument("--debug", action="store_true", help="log what happens to each task")
    parser.add_argument("--version", action="version", version=f"missiond {missiond.__version__}")
    arguments = parser.parse_args()
    set_up(debug=arguments.debug)

    # asyncio does without TLS where it is missing, and here it would be a megabyte for nothing
    sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]
    from missiond.daemon import Places, run  # noqa: PLC0415  (--help and --version need none of it)
    from missiond.host.privileged import SOCKET  # noqa: PLC0415

    runtime, state = _session_places() if arguments.session else _system_places()
    helper = Path(os.environ.get("MISSIOND_HELPER_SOCKET", SOCKET))
    places = Places(runtime, state, arguments.session, helper)
    return run(places, lambda text: print(text, file=sys.stderr))


def _system_places() -> tuple[Path, Path]:
    """What RuntimeDirectory= and StateDirectory= made (systemd.exec(5))."""
    return (
        Path(os.environ.get("RUNTIME_DIRECTORY", "/run/missiond").split(":")[0]),
        Path(os.environ.get("STATE_DIRECTORY", "/var/lib/missiond").split(":")[0]),
    )


def _session_places() -> tuple[Path, Path]:
    runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    state = os.environ.get("XDG_STATE_HOME", str(Path("~/.local/state").expanduser()))
    return Path(runtime, "missiond"), Path(state, "missiond")


if __name__ == "__main__":
    sys.exit(main())
