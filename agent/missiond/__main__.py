# SPDX-License-Identifier: Apache-2.0
"""`missiond`, the agent: started by systemd; people use `missionctl`."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import NamedTuple

import missiond
from missiond.logs import set_up

LIBRARIES = ("psutil", "pyudev", "systemd")
"""Libraries the agent needs beyond missionctl's, loaded on use."""


class CommandLine(NamedTuple):
    """Options of the command line."""

    session: bool = False
    debug: bool = False
    give_back: bool = False


def main() -> int:
    """Parse the command line and serve."""
    options = _options(sys.argv[1:])
    set_up(debug=options.debug)
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        names = ", ".join(missing)
        print(f"missiond can't start: no {names} here; pip install 'missiond[agent]'", file=sys.stderr)
        return 1
    if options.give_back:
        from missiond.give_back.run import run as give_back  # noqa: PLC0415

        return give_back(_system_places()[0], lambda text: print(text, file=sys.stderr))
    _do_without_modules()
    from missiond.host.helper import SOCKET  # noqa: PLC0415
    from missiond.startup import StatePlaces, run  # noqa: PLC0415  (--help and --version need none of it)

    runtime, state = _session_places() if options.session else _system_places()
    helper = Path(os.environ.get("MISSIOND_HELPER_SOCKET", SOCKET))
    places = StatePlaces(runtime, state, options.session, helper)
    return run(places, lambda text: print(text, file=sys.stderr))


def _options(words: list[str]) -> CommandLine:
    if not words:  # as systemd starts it: no parser stays in memory
        return CommandLine()
    import argparse  # noqa: PLC0415

    parser = argparse.ArgumentParser(
        prog="missiond",
        description="Keeps the host awake for background tasks. Started by systemd; see missiond(8).",
    )
    parser.add_argument(
        "--session", action="store_true", help="serve the session bus, to try it without root"
    )
    parser.add_argument("--debug", action="store_true", help="log what happens to each task")
    parser.add_argument(
        "--give-back", action="store_true", help="undo what was done to processes and services, and exit"
    )
    parser.add_argument("--version", action="version", version=f"missiond {missiond.__version__}")
    arguments = parser.parse_args(words)
    return CommandLine(arguments.session, arguments.debug, arguments.give_back)


def _do_without_modules() -> None:
    """Keep megabytes free that the standard library would take for nothing."""
    # asyncio does without TLS where it is missing
    sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]
    # inspect imports it, dataclasses import inspect, and nobody parses Python here
    spec = importlib.util.find_spec("ast")
    if "ast" not in sys.modules and spec is not None and spec.loader is not None:
        spec.loader = importlib.util.LazyLoader(spec.loader)
        module = sys.modules["ast"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


def _system_places() -> tuple[Path, Path]:
    """Return the places of RuntimeDirectory= and StateDirectory= (systemd.exec(5))."""
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
