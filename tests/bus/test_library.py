# SPDX-License-Identifier: Apache-2.0
"""The parts of dbus-next that are used, and its own connection, which understands ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from missiond.bus import library
from missiond.bus.library import Variant
from standins.programs.sample_service import NAME, PATH, SAMPLE, Service

with library._without_glib(), library._with_type_check_decorator():
    from dbus_next import Message, MessageType
    from dbus_next.aio import MessageBus

AGENT = Path(library.__file__).parents[2]


def run(code: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(AGENT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, check=False, timeout=15,
    )  # fmt: skip


def test_the_whole_library_is_there_for_whoever_imports_it_later() -> None:
    code = (
        "import warnings; warnings.simplefilter('ignore');"
        "import missiond.bus.library as l, dbus_next.aio;"
        "print(dbus_next.Variant is l.Variant, dbus_next.aio.MessageBus.__name__)"
    )
    assert run(code).stdout == "True MessageBus\n"


def test_without_warnings_or_glib() -> None:
    code = (
        "import sys, missiond.bus.server;"
        "loaded = {name.split('.')[0] for name in sys.modules};"
        "print('gi' in loaded, 'dbus_next' in loaded)"
    )
    result = run(code)
    assert (result.stdout, result.stderr) == ("False True\n", "")


def test_a_library_that_is_missing() -> None:
    code = "import sys; sys.modules['dbus_next'] = None; import missiond.bus.library"
    assert "ModuleNotFoundError" in run(code).stderr


async def test_the_librarys_own_connection(service: Service, system_bus: str) -> None:
    bus = await MessageBus(system_bus).connect()
    options = {"x": Variant("a(us)", [[1, "é"]])}
    call = Message(
        destination=NAME, path=PATH, interface=SAMPLE, member="Swap", signature="a{sv}a(us)",
        body=[options, [[1, "a"], [2, "b"]]],
    )  # fmt: skip
    reply = await bus.call(call)
    assert reply.message_type is MessageType.METHOD_RETURN
    assert [list(pair) for pair in reply.body[0]] == [[2, "b"], [1, "a"]]
    assert reply.body[1]["x"].signature == "a(us)"
    node = await bus.introspect(NAME, PATH)
    assert SAMPLE in [interface.name for interface in node.interfaces]
    gone = bus.wait_for_disconnect()
    bus.disconnect()
    await gone
    # older ones leave the socket open
    for part in (bus._stream, bus._sock):
        part.close()
    assert service.connection.connected
