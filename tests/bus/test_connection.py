# SPDX-License-Identifier: Apache-2.0
"""Connecting, names, signals, and the end."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from missiond.bus.connection import BUS_NAME, BUS_PATH, Connection, RemoteError
from missiond.bus.wire import message as wire
from missiond.bus.wire.address import AddressError, AuthenticationError, socket_names, standard_address
from standins.clients.raw_client import RawClient
from standins.programs.sample_service import NAME, PATH, SAMPLE, Service, running_service
from standins.services.private_bus import PrivateBus


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert socket_names("tcp:host=x;unix:path=/a%20b,guid=1;unix:abstract=c") == ["/a b", "\0c"]
    with pytest.raises(AddressError):
        socket_names("tcp:host=x")
    for name in ("DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert standard_address(system=True) == "unix:path=/run/dbus/system_bus_socket"
    with pytest.raises(AddressError):
        standard_address(system=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert standard_address(system=False) == "unix:path=/run/user/7/bus"
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/s")
    assert standard_address(system=False) == "unix:path=/s"


async def test_no_bus_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await Connection.open(f"unix:path={tmp_path}/none")


@pytest.mark.parametrize(
    "answer", [b"REJECTED EXTERNAL\r\n", b"", b"DATA\r\nERROR\r\nERROR\r\n", b"x" * 20_000]
)
async def test_refused(tmp_path: Path, answer: bytes) -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_unix_server(refuse, tmp_path / "bus")
    with pytest.raises((AuthenticationError, ConnectionError)):
        await Connection.open(f"unix:path={tmp_path}/bus", fds=True)
    server.close()
    await server.wait_closed()


async def test_daemon_dies(private_bus: PrivateBus) -> None:
    async with running_service(private_bus.address) as service:
        os.kill(private_bus.pid, signal.SIGKILL)
        await service.connection.wait_for_disconnect()
        assert isinstance(service.connection.error, OSError)
        assert not service.connection.connected
        service.server.emit(PATH, SAMPLE, "Happened", 1, "into the void")
        with pytest.raises(RemoteError, match="Disconnected"):
            await service.connection.call_bus("GetId")


async def test_bytes_that_are_no_message(tmp_path: Path) -> None:
    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"DATA\r\nOK 0123\r\n")
        await reader.read(1000)
        writer.write(b"this is no message at all")
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_unix_server(lie, tmp_path / "bus")
    with pytest.raises(RemoteError, match="not a D-Bus message"):
        await Connection.open(f"unix:path={tmp_path}/bus")
    server.close()
    await server.wait_closed()


async def test_an_owner_that_leaves_behind_the_answer(service: Service, client: Connection) -> None:
    """Both are read at once, and watchers are told before whoever asked goes on."""
    seen: list[str] = []
    watch = client.watch_name(NAME, lambda _, new: seen.append(new))
    await client.call_bus("GetId")
    asking = asyncio.ensure_future(client.name_owner(NAME))
    await asyncio.sleep(0)
    service.connection.send_call(BUS_NAME, BUS_PATH, BUS_NAME, "ReleaseName", "s", (NAME,))
    time.sleep(0.2)  # noqa: ASYNC251 (neither is read meanwhile)
    assert await asking is None
    assert seen == [""]
    watch.close()


async def test_watching_a_name(system_bus: str, client: Connection) -> None:
    seen: list[tuple[str, str]] = []
    done = asyncio.Event()

    def on_change(old: str, new: str) -> None:
        seen.append((old, new))
        if old:
            done.set()

    watch = client.watch_name(NAME, on_change)
    assert await client.name_owner(NAME) is None
    async with running_service(system_bus) as service:
        owner = service.connection.unique_name
        assert await client.name_owner(NAME) == owner
    await done.wait()
    assert seen == [("", owner), (owner, "")]
    watch.close()
    watch.close()
    assert client._rules == {}


async def test_signals_of_a_name_that_moves(system_bus: str, client: Connection) -> None:
    """A service that restarts is followed without our doing anything."""
    seen: list[str] = []
    subscription = await client.add_signal(
        sender=NAME, interface=SAMPLE, member="Happened", path=PATH, arg0="never", callback=lambda *_: None
    )
    subscription.close()
    subscription = await client.add_signal(
        sender=NAME,
        interface=SAMPLE,
        member="Happened",
        path=PATH,
        callback=lambda _, text: seen.append(text),
    )
    for text in ("first", "second"):
        async with running_service(system_bus) as service:
            service.server.emit(PATH, SAMPLE, "Happened", 1, text)
            service.server.emit(f"{PATH}/other", SAMPLE, "Happened", 1, "other path")
            await client.call(NAME, PATH, SAMPLE, "Echo", "s", ["flush"])
    assert seen == ["first", "second"]
    subscription.close()
    async with running_service(system_bus) as service:
        service.server.emit(PATH, SAMPLE, "Happened", 1, "third")
        await client.call(NAME, PATH, SAMPLE, "Echo", "s", ["flush"])
    assert seen == ["first", "second"]
    assert client._rules == {}


async def test_failing_listener_harms_nobody_else(
    service: Service, client: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []

    def fail(*_: object) -> None:
        raise RuntimeError("listener")

    for callback in (fail, lambda number, _: seen.append(number)):
        await client.add_signal(sender=NAME, interface=SAMPLE, member="Happened", callback=callback)
    for number in range(100):
        service.server.emit(PATH, SAMPLE, "Happened", number, "")
    await client.call(NAME, PATH, SAMPLE, "Echo", "s", ["flush"])
    assert seen == list(range(100))
    assert 1 <= len(caplog.records) <= 20


async def test_refused_match_rule(client: Connection) -> None:
    with pytest.raises(RemoteError, match="MatchRuleInvalid"):
        await client.add_signal(
            sender=":1.1", interface="not an interface", member="M", callback=lambda: None
        )


async def test_match_rules_are_counted(client: Connection) -> None:
    rule = "type='signal',member='Foo'"
    client.add_match(rule)
    client.add_match(rule)
    client.remove_match(rule)
    assert client._rules == {rule: 1}
    client.remove_match(rule)
    client.remove_match(rule)
    assert client._rules == {}


async def test_calls_that_want_no_reply(client: Connection, raw: RawClient) -> None:
    client.send_call(raw.name, "/a", "b.c", "D", "s", ["é"], no_auto_start=True)
    while (message := await raw.receive()).member != "D":
        pass
    assert (message.path, message.interface, message.body) == ("/a", "b.c", ["é"])
    assert message.flags == wire.NO_REPLY_EXPECTED | wire.NO_AUTO_START


async def test_connection_that_serves_nothing(client: Connection, raw: RawClient) -> None:
    ping = raw.frame("/", "org.freedesktop.DBus.Peer", "Ping", destination=client.unique_name)
    assert (await raw.ask(ping)).error_name is None
    other = raw.frame("/", "a.b", "C", destination=client.unique_name)
    assert (await raw.ask(other)).error_name == "org.freedesktop.DBus.Error.UnknownObject"
