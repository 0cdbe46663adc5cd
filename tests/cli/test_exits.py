# SPDX-License-Identifier: Apache-2.0
"""Exception, D-Bus name, exit status and man pages tell the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from missiond.bus.connection import RemoteError
from missiond.cli.exits import EXIT_OF, MEANING, CommandError, Exit, explain
from missiond.client import AgentUnreachable
from missiond.errors import AgentError, Code, PermissionDenied
from missiond.remote_errors import exception_for

MAN = Path(__file__).resolve().parents[2] / "packaging/man"


def test_every_code_has_a_status_that_has_a_meaning() -> None:
    assert set(EXIT_OF) == set(Code)
    assert set(MEANING) == set(Exit)
    assert all(0 < status < Exit.NOT_STARTED for status in EXIT_OF.values())


@pytest.mark.parametrize("code", list(Code), ids=lambda code: code.name)
def test_an_answer_becomes_its_exception_and_its_status(code: Code) -> None:
    error = exception_for(code.dbus_name, f"{int(code)}: too much; do less")
    assert isinstance(error, AgentError)
    assert error.code is code
    assert error.dbus_name == code.dbus_name
    assert error.text == "too much; do less"
    assert type(error).__name__ == code.dbus_name.rpartition(".")[2]
    assert explain(error, session=False) == (f"too much; do less ({int(code)})", EXIT_OF[code])


@pytest.mark.parametrize("kind", AgentError.__subclasses__(), ids=lambda kind: kind.__name__)
def test_known_exceptions_come_back_as_themselves(kind: type[AgentError]) -> None:
    sent = kind("no")
    assert type(exception_for(sent.dbus_name, str(sent))) is kind


@pytest.mark.parametrize(
    "name",
    [
        "org.freedesktop.DBus.Error.ServiceUnknown",
        "org.freedesktop.DBus.Error.NameHasNoOwner",
        "org.freedesktop.DBus.Error.NoReply",
        "org.freedesktop.DBus.Error.Disconnected",
        "org.freedesktop.DBus.Error.Spawn.ChildExited",
        "org.freedesktop.systemd1.NoSuchUnit",
    ],
)
def test_nobody_there(name: str) -> None:
    error = exception_for(name, "gone", "session bus")
    assert isinstance(error, AgentUnreachable)
    assert explain(error, session=True) == (
        "there is no agent on the session bus (gone); start the agent with `/usr/libexec/missiond --session`",
        Exit.UNREACHABLE,
    )


def test_the_policy_of_the_bus_is_a_denial() -> None:
    error = exception_for("org.freedesktop.DBus.Error.AccessDenied", "policy")
    assert isinstance(error, PermissionDenied)


def test_the_unforeseen_is_a_failure() -> None:
    error = exception_for("org.example.Error", "what")
    assert isinstance(error, RemoteError)
    assert explain(error, session=False)[1] is Exit.FAILURE
    assert explain(ValueError(), session=False) == ("ValueError; see `journalctl -u missiond`", Exit.FAILURE)
    assert explain(CommandError(Exit.USAGE, "no; try yes"), session=False) == ("no; try yes", Exit.USAGE)


def test_man_page_has_the_table() -> None:
    page = (MAN / "missionctl.1").read_text(encoding="utf-8")
    section = page[page.index(".SH EXIT STATUS") :].split(".SH ")[1]
    rows = re.findall(r"^\.TP\n\.B (\d+)\n(.+)$", section, re.MULTILINE)
    assert {int(number): text for number, text in rows} == {
        int(status): meaning[0].upper() + meaning[1:] + "." for status, meaning in MEANING.items()
    }


def test_reference_has_every_error_with_its_status() -> None:
    page = (MAN / "org.missiond.Agent1.5").read_text(encoding="utf-8")
    for code in Code:
        name = code.dbus_name.rpartition(".")[2]
        assert re.search(rf"^{int(code)}\t{name}\t{int(EXIT_OF[code])}$", page, re.MULTILINE), name
