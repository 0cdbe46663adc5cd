# SPDX-License-Identifier: Apache-2.0
"""Bad input gets its documented error and disturbs nothing."""

from __future__ import annotations

from typing import Any

import pytest

from missiond.bus.connection import Connection, RemoteError
from missiond.bus.library import Variant
from standins.programs.sample_service import NAME, PATH, SAMPLE, Service

OURS = "org.missiond.Agent1.Error."
STANDARD = "org.freedesktop.DBus.Error."
PROPERTIES = "org.freedesktop.DBus.Properties"
MANAGER = "org.freedesktop.DBus.ObjectManager"

BAD_CALLS: list[tuple[str, str, str, str, list[Any], str, str]] = [
    (PATH, SAMPLE, "Echo", "u", [1], f"{OURS}InvalidParameter", "401: Echo takes (s), got (u)"),
    (PATH, SAMPLE, "Echo", "", [], f"{OURS}InvalidParameter", "401: Echo takes (s), got ()"),
    (PATH, SAMPLE, "Echo", "ss", ["a", "b"], f"{OURS}InvalidParameter", "401: Echo takes (s), got (ss)"),
    (PATH, SAMPLE, "Silent", "s", ["a"], f"{OURS}InvalidParameter", "401: Silent takes (), got (s)"),
    (PATH, SAMPLE, "Echo", "s", ["x" * 1_000_000], f"{OURS}InvalidParameter",
     "401: Echo takes at most 262144 bytes of arguments, got 1000005"),
    (PATH, SAMPLE, "Nothing", "", [], f"{STANDARD}UnknownMethod", f"{SAMPLE} has no method Nothing"),
    (PATH, "no.such.Interface", "Echo", "s", ["a"], f"{STANDARD}UnknownInterface",
     "no interface no.such.Interface here"),
    ("/nowhere", SAMPLE, "Echo", "s", ["a"], f"{STANDARD}UnknownObject", "no object /nowhere"),
    (f"{PATH}/sample", PROPERTIES, "GetAll", "s", [SAMPLE], f"{STANDARD}UnknownObject",
     f"no object {PATH}/sample"),
    (PATH, PROPERTIES, "Get", "ss", [SAMPLE, "Nothing"], f"{STANDARD}UnknownProperty",
     f"no property Nothing in {SAMPLE}"),
    (PATH, PROPERTIES, "Get", "ss", ["no.such", "Good"], f"{STANDARD}UnknownInterface",
     "no interface no.such here"),
    (PATH, PROPERTIES, "Get", "s", [SAMPLE], f"{STANDARD}InvalidArgs", "Get takes (ss), got (s)"),
    (PATH, PROPERTIES, "Set", "ssv", [SAMPLE, "Good", Variant("s", "x")], f"{STANDARD}PropertyReadOnly",
     "property Good is read-only"),
    (PATH, PROPERTIES, "Set", "ssv", [SAMPLE, "Nothing", Variant("s", "x")], f"{STANDARD}UnknownProperty",
     f"no property Nothing in {SAMPLE}"),
    (PATH, PROPERTIES, "GetAll", "s", ["\x1b[31m\n" + "x" * 1000], f"{STANDARD}UnknownInterface",
     "no interface \\x1b[31m\\n" + "x" * 58 + "... here"),
    (PATH, PROPERTIES, "GetAll", "s", ["x" * 300_000], f"{STANDARD}InvalidArgs",
     "GetAll: the arguments are too long"),
    ("/", MANAGER, "GetManagedObjects", "", [], f"{STANDARD}UnknownInterface", "/ is no object manager"),
    ("/org/missiond", MANAGER, "GetManagedObjects", "", [], f"{STANDARD}UnknownInterface",
     "/org/missiond is no object manager"),
    ("/nowhere", MANAGER, "GetManagedObjects", "", [], f"{STANDARD}UnknownObject", "no object /nowhere"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "interface", "member", "signature", "body", "name", "text"), BAD_CALLS)
async def test_bad_call(
    service: Service, client: Connection, path: str, interface: str, member: str, signature: str,
    body: list[Any], name: str, text: str,
) -> None:  # fmt: skip
    with pytest.raises(RemoteError) as caught:
        await client.call(NAME, path, interface, member, signature, body)
    assert (caught.value.name, caught.value.text) == (name, text)
    assert await client.call(NAME, PATH, SAMPLE, "Echo", "s", ["still there"]) == ["still there"]
    assert service.connection.connected


async def test_long_list_is_served(service: Service, client: Connection) -> None:
    pairs = [(number, "") for number in range(10_000)]
    swapped, _ = await client.call(NAME, PATH, SAMPLE, "Swap", "a{sv}a(us)", [{}, pairs])
    assert swapped[0] == [9999, ""]
    assert service.connection.connected
