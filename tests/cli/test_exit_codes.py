# SPDX-License-Identifier: Apache-2.0
"""Exception, D-Bus name, exit status and man pages tell the same."""

from __future__ import annotations

import errno
import os
import re
import sys
from pathlib import Path

import pytest

from missiond import Failed, Invalid, Missing, NotFound, Unreachable
from missiond.cli import exit_codes
from missiond.cli.exit_codes import EXIT_OF, MEANING, CommandError, Exit, explain
from missiond.client._errors import exception_for
from missiond.errors import AgentError, Code, PermissionDenied
from standins.generated import manual


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
def test_nobody_there(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exit_codes, "DAEMON", "/opt/missiond")
    monkeypatch.setattr(Path, "exists", lambda path: str(path) == "/opt/missiond")
    error = exception_for(name, "gone", "session bus")
    assert isinstance(error, Unreachable)
    assert explain(error, session=True) == (
        "there is no agent on the session bus (gone); start the agent with `/opt/missiond --session`",
        Exit.UNREACHABLE,
    )


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [
        (Missing.AGENT, "start the agent with `systemctl start missiond`"),
        (Missing.UNIT, "unmask the agent with `systemctl unmask missiond`"),
        (Missing.ANSWER, "restart the agent with `systemctl restart missiond`"),
        (Missing.BUS, "start it with `systemctl start dbus`"),
    ],
)
def test_what_helps_depends_on_what_is_missing(missing: Missing, remedy: str) -> None:
    assert explain(Unreachable("gone", missing), session=False) == (f"gone; {remedy}", Exit.UNREACHABLE)


def test_a_masked_unit() -> None:
    error = exception_for("org.freedesktop.systemd1.UnitMasked", "Unit missiond.service is masked.")
    assert isinstance(error, Unreachable)
    assert error.missing is Missing.UNIT


def test_where_the_package_is_not_the_daemon_is_that_of_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exit_codes, "DAEMON", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert f"`{sys.executable} -m missiond --session`" in explain(Unreachable("gone"), session=True)[0]
    (tmp_path / "missiond").write_text("")
    (tmp_path / "missiond").chmod(0o755)
    assert "`missiond --session`" in explain(Unreachable("gone"), session=True)[0]


def test_sentences_of_the_agent_name_verbs() -> None:
    error = PermissionDenied("mission 2 is locked; unlock it first, with UnlockMission 2")
    text = "mission 2 is locked; unlock it first, with `missionctl unlock 2` (201)"
    assert explain(error, session=False) == (text, Exit.DENIED)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPIPE])
def test_what_cannot_be_written(number: int) -> None:
    text = f"cannot write: {os.strerror(number)}"
    assert explain(OSError(number, os.strerror(number)), session=False) == (text, Exit.FAILURE)


def test_the_policy_of_the_bus_is_a_denial() -> None:
    error = exception_for("org.freedesktop.DBus.Error.AccessDenied", "policy")
    assert isinstance(error, PermissionDenied)


def test_the_unforeseen_is_a_failure() -> None:
    error = exception_for("org.example.Error", "what")
    assert isinstance(error, Failed)
    assert explain(error, session=False)[1] is Exit.FAILURE
    assert explain(ValueError(), session=False) == (
        "ValueError; this is a mistake of missionctl's own, please report it",
        Exit.FAILURE,
    )
    assert explain(CommandError(Exit.USAGE, "no; try yes"), session=False) == ("no; try yes", Exit.USAGE)


def test_what_the_client_finds_has_a_status_and_no_code() -> None:
    found = [explain(error("no; do this"), session=False) for error in (NotFound, Invalid)]
    assert found == [("no; do this", Exit.NOT_FOUND), ("no; do this", Exit.USAGE)]


def test_man_page_has_the_table() -> None:
    page = manual("missionctl.1")
    section = page[page.index(".SH EXIT STATUS") :].split(".SH ")[1]
    rows = re.findall(r"^\.TP\n\.B (\d+)\n(.+)$", section, re.MULTILINE)
    assert {int(number): text for number, text in rows} == {
        int(status): meaning[0].upper() + meaning[1:] + "." for status, meaning in MEANING.items()
    }


def test_reference_has_every_error_with_its_status() -> None:
    page = manual("org.missiond.Agent1.5")
    for code in Code:
        name = code.dbus_name.rpartition(".")[2]
        assert re.search(rf"^{int(code)}\t{name}\t{int(EXIT_OF[code])}$", page, re.MULTILINE), name
