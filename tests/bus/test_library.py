# SPDX-License-Identifier: Apache-2.0
"""The library is chosen as documented, and its own connection understands us."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from missiond.bus import library
from missiond.bus.library import Message, MessageBus, MessageType, Variant
from standins.sample_service import NAME, PATH, SAMPLE, Service

AGENT = Path(library.__file__).parents[2]


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(AGENT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True, text=True, check=False, timeout=15,
    )  # fmt: skip


def test_the_whole_library_is_there_for_whoever_imports_it_later() -> None:
    package = library.NAME.replace("-", "_")
    code = (
        "import warnings; warnings.simplefilter('ignore');"
        f"import missiond.bus.library as l, {package}.aio; p = {package};"
        "print(p.Message is l.Message, p.Variant is l.Variant, p.aio.MessageBus is l.MessageBus)"
    )
    assert run(code, MISSIOND_BUS_LIBRARY=library.NAME).stdout == "True True True\n"


def test_forced_library_without_warnings_or_glib() -> None:
    code = (
        "import sys, missiond.bus.server, missiond.bus.library as l;"
        "loaded = {name.split('.')[0] for name in sys.modules};"
        "print(l.NAME, 'gi' in loaded, 'dbus_next' in loaded, 'dbus_fast' in loaded)"
    )
    result = run(code, MISSIOND_BUS_LIBRARY=library.NAME)
    is_next = library.NAME == "dbus-next"
    assert (result.stdout, result.stderr) == (f"{library.NAME} False {is_next} {not is_next}\n", "")
    assert library.describe().startswith(f"{library.NAME} ")


def test_unknown_library() -> None:
    result = run("import missiond.bus.library", MISSIOND_BUS_LIBRARY="pydbus")
    assert "ValueError: MISSIOND_BUS_LIBRARY=pydbus: expected dbus-next or dbus-fast" in result.stderr


def test_forced_library_that_is_missing() -> None:
    code = "import sys; sys.modules['dbus_fast'] = None; import missiond.bus.library"
    assert "ModuleNotFoundError" in run(code, MISSIOND_BUS_LIBRARY="dbus-fast").stderr


@pytest.mark.skipif(library.NAME != "dbus-next", reason="falls back to dbus-next")
def test_fallback() -> None:
    code = "import sys; sys.modules['dbus_fast'] = None; import missiond.bus.library as l; print(l.NAME)"
    result = run(code, MISSIOND_BUS_LIBRARY="")
    assert (result.stdout, result.stderr) == ("dbus-next\n", "")


async def test_the_librarys_own_connection(service: Service, system_bus: str) -> None:
    bus = await MessageBus(system_bus).connect()
    options = {"x": Variant("a(us)", [[1, "é"]])}
    call = Message(
        destination=NAME, path=PATH, interface=SAMPLE, member="Swap", signature="a{sv}a(us)",
        body=[options, [[1, "a"], [2, "b"]]],
    )  # fmt: skip
    if library.describe() == "dbus-fast 1.84.2":
        # it writes a wrong length for text beyond ASCII
        call.body[0] = {"x": Variant("a(us)", [[1, "e"]])}
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
