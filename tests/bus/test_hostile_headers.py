# SPDX-License-Identifier: Apache-2.0
"""Messages that the bus daemon passes on and that a library chokes on."""

from __future__ import annotations

import pytest

from missiond.bus.connection import Connection
from missiond.bus.wire import message
from standins.clients.raw_client import RawClient
from standins.programs.sample_service import NAME, PATH, SAMPLE, Service


@pytest.mark.parametrize("flags", [3, 5, 6, 7, 8, 0x80, 0xF6])
async def test_any_flags(service: Service, client: Connection, raw: RawClient, flags: int) -> None:
    await raw.send(raw.frame(PATH, SAMPLE, "Echo", "s", ["a"], flags=flags))
    assert (await raw.ask(raw.frame(PATH, SAMPLE, "Echo", "s", ["b"]))).body in (["a"], ["b"])
    assert await client.call(NAME, PATH, SAMPLE, "Echo", "s", ["c"]) == ["c"]
    assert service.connection.connected


@pytest.mark.parametrize("kind", [5, 17, 255])
async def test_unknown_message_types_are_ignored(
    service: Service, client: Connection, raw: RawClient, kind: int
) -> None:
    await raw.send(raw.frame(PATH, SAMPLE, "Echo", "s", ["a"], kind=kind))
    assert await client.call(NAME, PATH, SAMPLE, "Echo", "s", ["c"]) == ["c"]
    assert service.connection.connected


async def test_big_endian_call(service: Service, raw: RawClient) -> None:
    text = b"hi"
    fields = b""
    texts = ((1, b"o", PATH), (2, b"s", SAMPLE), (3, b"s", "Echo"), (6, b"s", NAME))
    for code, kind, value in texts:
        raw_value = value.encode() + b"\0"
        fields += bytes((code, 1)) + kind + b"\0" + len(value).to_bytes(4, "big") + raw_value
        fields += bytes(-len(raw_value) % 8)
    fields += b"\x08\x01g\0\x01s\0"
    body = len(text).to_bytes(4, "big") + text + b"\0"
    head = (
        b"B\1\0\1" + len(body).to_bytes(4, "big") + (77).to_bytes(4, "big") + len(fields).to_bytes(4, "big")
    )
    answer = await raw.ask(head + fields + bytes(-len(fields) % 8) + body)
    assert (answer.reply_serial, answer.body) == (77, ["hi"])
    assert service.connection.connected


async def test_unknown_header_field(service: Service, client: Connection, raw: RawClient) -> None:
    frame = raw.frame(PATH, SAMPLE, "Echo", "s", ["a"])
    header, body = message.lengths(frame)
    fields = int.from_bytes(frame[12:16], "little")
    extra = b"\x2a\1s\0\1\0\0\0x\0"
    padded = frame[16:header] + extra
    data = frame[:12] + (header - 16 + len(extra)).to_bytes(4, "little") + padded + bytes(-len(padded) % 8)
    assert fields
    await raw.send(data + frame[-body:])
    assert await client.call(NAME, PATH, SAMPLE, "Echo", "s", ["c"]) == ["c"]
    assert (await raw.answers(1))[0].body == ["a"]
    assert service.connection.connected


async def test_very_long_path(service: Service, client: Connection, raw: RawClient) -> None:
    answer = await raw.ask(raw.frame("/a" * 50_000, SAMPLE, "Echo", "s", ["a"]))
    assert answer.error_name == "org.freedesktop.DBus.Error.UnknownObject"
    assert len(answer.body[0]) < 200
    await raw.send(raw.frame("/a" * 500_000, SAMPLE, "Echo", "s", ["a"]))
    assert await client.call(NAME, PATH, SAMPLE, "Echo", "s", ["c"]) == ["c"]
    assert service.connection.connected


async def test_forged_unicast_signal_is_ignored(service: Service, client: Connection, raw: RawClient) -> None:
    """Anybody may send a signal straight to us; only the name's owner is believed."""
    seen: list[str] = []
    await client.add_signal(
        sender=NAME, interface=SAMPLE, member="Happened", callback=lambda _, text: seen.append(text)
    )
    forged = raw.frame(
        PATH, SAMPLE, "Happened", "us", [1, "forged"], kind=message.SIGNAL, destination=client.unique_name
    )
    await raw.send(forged)
    await raw.ask(raw.frame("/", "org.freedesktop.DBus.Peer", "Ping", destination=client.unique_name))
    service.server.emit(PATH, SAMPLE, "Happened", 2, "true")
    await client.call(NAME, PATH, SAMPLE, "Echo", "s", ["after the signal"])
    assert seen == ["true"]


async def test_forged_name_owner_changed_is_ignored(
    service: Service, client: Connection, raw: RawClient
) -> None:
    gone: list[str] = []
    service.server.callers.on_vanish(client.unique_name, lambda: gone.append("gone"))
    forged = raw.frame(
        "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged", "sss",
        [client.unique_name, client.unique_name, ""], kind=message.SIGNAL,
        destination=service.connection.unique_name,
    )  # fmt: skip
    await raw.send(forged)
    await raw.ask(raw.frame(PATH, SAMPLE, "Echo", "s", ["a"]))
    assert gone == []


@pytest.mark.parametrize("code", range(10))
@pytest.mark.parametrize("kind", ["s", "u", "g", "o"])
def test_fields_of_other_types_end_the_connection(code: int, kind: str) -> None:
    value = {"s": b"\1\0\0\0x\0", "o": b"\1\0\0\0/\0", "u": b"\1\0\0\0", "g": b"\1s\0"}[kind]
    field = bytes((code, 1)) + kind.encode() + b"\0" + value
    fields = field + bytes(-len(field) % 8)
    frame = b"l\1\0\1" + bytes(4) + b"\1\0\0\0" + len(fields).to_bytes(4, "little") + fields
    if kind == " osssussgu"[code]:
        message.Incoming(frame, len(frame), 0)
    else:
        with pytest.raises(message.WireError, match=f"field {code} "):
            message.Incoming(frame, len(frame), 0)
