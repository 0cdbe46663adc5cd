# SPDX-License-Identifier: Apache-2.0
"""Introspection, properties, the object manager, and signals to one or all."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from missiond.bus import server as server_module
from missiond.bus.connection import Connection, RemoteError
from missiond.bus.library import Variant
from missiond.bus.server import NameTaken
from missiond.bus.variants import unwrap
from standins.clients.raw_client import RawClient
from standins.programs.sample_service import (
    ITEM,
    NAME,
    PATH,
    SAMPLE,
    SPECS,
    XML,
    Item,
    Service,
    running_service,
)

INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
PROPERTIES = "org.freedesktop.DBus.Properties"
MANAGER = "org.freedesktop.DBus.ObjectManager"


async def introspect(client: Connection, path: str) -> str:
    [text] = await client.call(NAME, path, INTROSPECTABLE, "Introspect")
    return str(text)


async def test_introspect_equals_the_xml_with_annotations(service: Service, client: Connection) -> None:
    text = await introspect(client, PATH)
    start, end = XML.index("<interface"), XML.index("</interface>")
    assert XML[start:end] in text
    assert "<!-- Echo: says it again -->" in text
    elements = {element.attrib["name"]: element for element in ET.fromstring(text).findall("interface")}
    assert set(elements) == {
        SAMPLE, PROPERTIES, MANAGER, INTROSPECTABLE, "org.freedesktop.DBus.Peer",
    }  # fmt: skip
    assert elements[SAMPLE].find("method[@name='Silent']/annotation") is not None
    assert service.connection.connected


async def test_tree_of_nodes(service: Service, client: Connection) -> None:
    service.server.add(f"{PATH}/item/1", Item(1))
    service.server.add(f"{PATH}/item/2", Item(2))

    async def children(path: str) -> list[str]:
        return re.findall('<node name="(.*)"/>', await introspect(client, path))

    assert await children("/") == ["org"]
    assert await children("/org") == ["missiond"]
    assert await children(PATH) == ["item"]
    assert await children(f"{PATH}/item") == ["1", "2"]
    assert await children(f"{PATH}/item/1") == []
    assert SPECS[ITEM].xml in await introspect(client, f"{PATH}/item/1")
    assert "Properties" not in await introspect(client, f"{PATH}/item")
    service.server.remove(f"{PATH}/item/1")
    service.server.remove(f"{PATH}/item/2")
    assert await children(PATH) == []
    for path in (f"{PATH}/item", f"{PATH}/item/1", "/o"):
        with pytest.raises(RemoteError) as caught:
            await introspect(client, path)
        assert caught.value.name == "org.freedesktop.DBus.Error.UnknownObject"


async def test_peer(
    service: Service, client: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await client.call(NAME, "/anything", "org.freedesktop.DBus.Peer", "Ping") == []
    monkeypatch.setattr(server_module, "_MACHINE_ID", (tmp_path / "empty", tmp_path / "id"))
    (tmp_path / "empty").touch()
    with pytest.raises(RemoteError, match="this host has no machine id"):
        await client.call(NAME, PATH, "org.freedesktop.DBus.Peer", "GetMachineId")
    (tmp_path / "id").write_text("0123456789abcdef" * 2 + "\n", encoding="ascii")
    [machine] = await client.call(NAME, PATH, "org.freedesktop.DBus.Peer", "GetMachineId")
    assert machine == "0123456789abcdef" * 2
    assert service.connection.connected


async def test_get_and_get_all(service: Service, client: Connection) -> None:
    [value] = await client.call(NAME, PATH, PROPERTIES, "Get", "ss", [SAMPLE, "Good"])
    assert value == Variant("s", "good €")
    [every] = await client.call(NAME, PATH, PROPERTIES, "GetAll", "s", [SAMPLE])
    assert unwrap(every) == {
        **service.sample.values, "Table": {"inner": {"x": 5}},
    }  # fmt: skip
    assert every["Quiet"].signature == "t"
    [merged] = await client.call(NAME, PATH, PROPERTIES, "GetAll", "s", [""])
    assert merged == every
    [none] = await client.call(NAME, PATH, PROPERTIES, "GetAll", "s", ["org.freedesktop.DBus.Peer"])
    assert none == {}


async def test_get_all_with_a_failing_property(
    service: Service, client: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    del service.sample.values["Good"]
    service.sample.values["Number"] = "seven"
    for _ in range(3):
        [every] = await client.call(NAME, PATH, PROPERTIES, "GetAll", "s", [SAMPLE])
        assert set(every) == {"Fixed", "Big", "Quiet", "Table"}
        for name in ("Good", "Number"):
            with pytest.raises(RemoteError) as caught:
                await client.call(NAME, PATH, PROPERTIES, "Get", "ss", [SAMPLE, name])
            assert caught.value.name == "org.missiond.Agent1.Error.SystemServiceFailed"
    assert len(caplog.records) <= 2
    service.server.add(f"{PATH}/broken", Item("x"))  # type: ignore[arg-type]
    [objects] = await client.call(NAME, PATH, MANAGER, "GetManagedObjects")
    assert objects == {f"{PATH}/broken": {ITEM: {}}}


async def test_object_manager_only_at_the_manager_path(service: Service, client: Connection) -> None:
    seen: list[tuple[str, Any]] = []
    for member in ("InterfacesAdded", "InterfacesRemoved"):
        await client.add_signal(
            sender=NAME, interface=MANAGER, member=member, path=PATH,
            callback=lambda path, what: seen.append((path, unwrap(what))),
        )  # fmt: skip
    service.server.add(f"{PATH}/item/1", Item(1))
    [objects] = await client.call(NAME, PATH, MANAGER, "GetManagedObjects")
    assert unwrap(objects) == {f"{PATH}/item/1": {ITEM: {"Id": 1}}}
    service.server.remove(f"{PATH}/item/1")
    service.server.remove(f"{PATH}/item/1")
    [objects] = await client.call(NAME, PATH, MANAGER, "GetManagedObjects")
    assert objects == {}
    assert seen == [(f"{PATH}/item/1", {ITEM: {"Id": 1}}), (f"{PATH}/item/1", [ITEM])]


async def test_properties_changed_is_one_signal_per_turn(service: Service, client: Connection) -> None:
    seen: list[tuple[str, Any, list[str]]] = []
    done = asyncio.Event()

    def on_changed(interface: str, changed: dict[str, Any], invalidated: list[str]) -> None:
        seen.append((interface, unwrap(changed), invalidated))
        done.set()

    await client.add_signal(
        sender=NAME,
        interface=PROPERTIES,
        member="PropertiesChanged",
        path=PATH,
        arg0=SAMPLE,
        callback=on_changed,
    )
    service.server.changed(PATH, SAMPLE, "Fixed", "Quiet")
    service.sample.values["Number"] = 8
    service.server.changed(PATH, SAMPLE, "Number", "Big")
    service.sample.values["Number"] = 9
    service.server.changed(PATH, SAMPLE, "Number")
    service.server.changed("/nowhere", SAMPLE, "Number")
    await done.wait()
    service.server.add(f"{PATH}/item/1", Item(1))
    service.server.changed(f"{PATH}/item/1", ITEM, "Id")
    service.server.remove(f"{PATH}/item/1")
    service.server.changed(PATH, SAMPLE, "Fixed")
    await client.call(NAME, PATH, SAMPLE, "Echo", "s", ["flush"])
    assert seen == [(SAMPLE, {"Number": 9}, ["Big"])]
    with pytest.raises(KeyError):
        service.server.changed(PATH, SAMPLE, "NoSuchProperty")


async def test_unicast_signals(service: Service, client: Connection, raw: RawClient) -> None:
    seen: list[str] = []
    await client.add_signal(
        sender=NAME, interface=SAMPLE, member="Happened", callback=lambda _, text: seen.append(text)
    )
    service.server.emit(PATH, SAMPLE, "Happened", 1, "for raw alone", destination=raw.name)
    service.server.emit(PATH, SAMPLE, "Happened", 2, "for client", destination=client.unique_name)
    service.server.emit(PATH, SAMPLE, "Happened", 3, "for all")
    await client.call(NAME, PATH, SAMPLE, "Echo", "s", ["flush"])
    assert seen == ["for client", "for all"]
    while (message := await raw.receive()).member != "Happened":
        pass
    assert message.body == [1, "for raw alone"]


async def test_wrong_signal_arguments_are_our_own_mistake(service: Service) -> None:
    with pytest.raises(TypeError):
        service.server.emit(PATH, SAMPLE, "Happened", "one", "two")
    with pytest.raises(KeyError):
        service.server.emit(PATH, SAMPLE, "NeverHeardOf")
    assert service.connection.connected


async def test_name_that_is_taken(system_bus: str, service: Service) -> None:
    with pytest.raises(NameTaken):
        async with running_service(system_bus):
            pytest.fail("two owners")
    assert service.connection.connected


async def test_classes_must_have_all_methods(service: Service) -> None:
    class Lazy(Item):
        name = SAMPLE

    with pytest.raises(TypeError, match="has no method echo"):
        service.server.add("/lazy", Lazy(1))
    with pytest.raises(ValueError, match="there is an object already"):
        service.server.add(PATH, Item(1))
