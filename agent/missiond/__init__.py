# SPDX-License-Identifier: Apache-2.0
"""missiond: background tasks and distributed missions for systemd hosts.

    import missiond

    with missiond.keep_awake("nightly copy", mode="data-transfer") as task:
        for done in copy():
            task.progress = done  # per cent

The names of `missiond.client` are here as well; they are imported when they are used (PEP 562).
"""

TYPE_CHECKING = False  # as typing has it, without importing that
if TYPE_CHECKING:
    from missiond.client import *  # noqa: F403

__version__ = "0.1.0"

_FUNCTIONS = ("connect", "delay_sleep", "description_of", "handed_state", "keep_awake")


def __getattr__(name: str) -> object:
    """Import a class or function of the client; modules of the package are none of these."""
    if name[:1].isupper() or name in _FUNCTIONS or name == "__all__":
        from importlib import import_module  # noqa: PLC0415

        value: object = getattr(import_module("missiond.client"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    from importlib import import_module  # noqa: PLC0415

    return sorted({*globals(), "__all__", *import_module("missiond.client").__all__})
