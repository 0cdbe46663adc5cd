# SPDX-License-Identifier: Apache-2.0
"""Entries of the journal with fields, and ordinary lines where there is no journal."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from missiond import audit, journal

DEVICE = "ab" * 32
PAGE = Path(__file__).resolve().parents[2] / "packaging" / "man" / "missiond.8"


class Journal:
    """The journal's socket, and what has reached it."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(str(path))

    def entries(self) -> list[dict[str, str]]:
        """Take all that wait."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(dict(_fields(self.socket.recv(65536))))
        return found


def _fields(data: bytes) -> Iterator[tuple[str, str]]:
    while data:
        name, _, rest = data.partition(b"\n")
        size = int.from_bytes(rest[:8], "little")
        assert rest[8 + size : 9 + size] == b"\n"
        yield name.decode(), rest[8 : 8 + size].decode()
        data = rest[9 + size :]


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Journal]:
    """A journal that takes what comes."""
    found = Journal(tmp_path / "socket")
    monkeypatch.setattr(journal, "SOCKET", tmp_path / "socket")
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    monkeypatch.setattr(sys, "argv", ["/usr/libexec/missiond"])
    yield found
    found.socket.close()


def test_fields_of_an_entry(there: Journal) -> None:
    audit.permitted(DEVICE, "desk", 1000, ["sync", "continue"])
    audit.permitted(DEVICE, "", None, [])
    first, second = there.entries()
    assert first == {
        "MESSAGE": f"uid 1000 lets desk ({DEVICE[:16]}) do here: sync continue",
        "MESSAGE_ID": audit.Event.PERMITTED.value,
        "PRIORITY": "5",
        "SYSLOG_IDENTIFIER": "missiond",
        "MISSIOND_DEVICE": DEVICE,
        "MISSIOND_DEVICE_NAME": "desk",
        "MISSIOND_UID": "1000",
        "MISSIOND_PERMISSIONS": "sync continue",
    }
    assert second["MESSAGE"] == f"this host lets {DEVICE[:16]} do here: nothing"
    assert not {"MISSIOND_UID", "MISSIOND_DEVICE_NAME", "MISSIOND_PERMISSIONS"} & second.keys()


@pytest.mark.parametrize(
    ("package", "program"), [("missiond", "missiond"), ("missiond.peers", "missiond-peers")]
)
def test_entries_have_the_name_of_the_unit_s_program(
    there: Journal, monkeypatch: pytest.MonkeyPatch, package: str, program: str
) -> None:
    spec = importlib.util.find_spec(f"{package}.__main__")
    assert spec is not None
    assert spec.origin is not None
    monkeypatch.setattr(sys, "argv", [spec.origin])  # as Python sets it after -m
    audit.distrusted(DEVICE, "desk", 0, "unpaired")
    [entry] = there.entries()
    assert entry["SYSLOG_IDENTIFIER"] == program


def test_every_kind_of_event_is_another(there: Journal) -> None:
    audit.trusted(DEVICE, "desk", 0, "by its id")
    audit.distrusted(DEVICE, "desk", 0, "unpaired")
    audit.permitted(DEVICE, "desk", 0, ["sync"])
    audit.pairing_failed(DEVICE, "desk", "nobody confirmed it in time")
    audit.mission_came(DEVICE, "desk", 1000, "sleep", 7)
    audit.mission_went(DEVICE, "desk", 1000, "sleep", 7)
    audit.mission_refused(DEVICE, "desk", 1000, "sleep", "it may not")
    entries = there.entries()
    assert [entry["MESSAGE_ID"] for entry in entries] == [event.value for event in audit.Event]
    assert all(entry["MISSIOND_DEVICE"] == DEVICE for entry in entries)
    assert entries[0]["MISSIOND_UID"] == "0"
    assert entries[4]["MISSIOND_MISSION"] == "7"


def test_without_a_journal_it_is_a_line_of_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    with caplog.at_level(logging.INFO):
        audit.distrusted(DEVICE, "", None, "the other side said no")
    [line] = caplog.messages
    assert line == f"this host trusts {DEVICE[:16]} no longer: the other side said no"


def test_any_text_is_one_field(there: Journal) -> None:
    audit.pairing_failed(DEVICE, "d\xe9sk", "no\nPRIORITY=0 \udce9")
    [entry] = there.entries()
    assert (entry["MISSIOND_REASON"], entry["PRIORITY"]) == ("no\nPRIORITY=0 \\udce9", "5")


@pytest.mark.timeout(20)
def test_a_journal_that_takes_nothing_is_not_waited_for(
    there: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        while not caplog.messages:
            audit.trusted(DEVICE, "desk", 0, "by its id")
    assert caplog.messages == [f"uid 0 trusts desk ({DEVICE[:16]}): by its id"]
    assert there.entries() != []


def test_a_journal_that_is_gone_costs_a_line_of_the_log_alone(
    there: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    there.socket.close()
    with caplog.at_level(logging.INFO):
        audit.trusted(DEVICE, "desk", 0, "by its id")
    assert len(caplog.messages) == 1


def test_the_page_lists_each_kind() -> None:
    documented = re.findall(r"^\.B ([0-9a-f]{32})$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert documented == [event.value for event in audit.Event]
