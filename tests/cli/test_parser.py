# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from missiond import __version__
from missiond.cli.parser import parse


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["run", "--", "ls", "-l"], ["ls", "-l"]),
        (["run", "ls", "-l"], ["ls", "-l"]),
        (["run", "--mode", "voip", "ls", "--mode", "x"], ["ls", "--mode", "x"]),
        (["run", "--", "git", "log", "--", "file"], ["git", "log", "--", "file"]),
        (["run", "git", "log", "--", "file"], ["git", "log", "--", "file"]),
        (["run", "--", "--odd"], ["--odd"]),
        (["--session", "run", "--", "tasks", "--json"], ["tasks", "--json"]),
        (["run", "--", "run", "--", "true"], ["run", "--", "true"]),
    ],
)
def test_the_command_is_taken_as_it_is(argv: list[str], command: list[str]) -> None:
    assert parse(argv).command == command


def test_run_options() -> None:
    arguments = parse(
        [
            "run",
            "--mode",
            "dataTransfer",
            "--mode",
            "voip",
            "--title",
            "t",
            "--context",
            "c",
            "--require",
            "--",
            "x",
        ]
    )
    assert arguments.modes == ["dataTransfer", "voip"]
    assert (arguments.title, arguments.context, arguments.require) == ("t", "c", True)
    assert parse(["run", "--reason", "r", "--delay", "2min", "--", "x"]).delay == 120_000


@pytest.mark.parametrize("argv", [["--session", "status"], ["status", "--session"]])
def test_session_may_stand_before_and_after_the_verb(argv: list[str]) -> None:
    assert parse(argv).session is True
    assert parse(["status"]).session is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", (None, 12)),
        ("transient/1", ("transient", 1)),
        ("continuous/4294967295", ("continuous", 2**32 - 1)),
    ],
)
def test_tasks(text: str, expected: tuple[str | None, int]) -> None:
    assert parse(["cancel", text]).tasks == [expected]
    assert parse(["remaining", text]).task == expected


USAGE = [
    ["cancel"],
    ["cancel", "0"],
    ["cancel", "4294967296"],
    ["cancel", "transient/"],
    ["cancel", "mission/1"],
    ["cancel", "x/transient/1"],
    ["cancel", "1" * 5000],
    ["cancel", "\u0661"],
    ["cancel", "-1"],
    ["delay", "--for", "soon"],
    ["delay", "--for", "0"],
    ["delay", "--for", "0.0001ms"],
    ["delay", "--for", "50d"],
    ["delay", "--pid", "0"],
    ["delay", "--pid", "self"],
    ["delay", "--pid", "4294967296"],
    ["delay", "--reason", "\udcff"],
    ["status", "more"],
    ["stat"],
    ["tasks", "--js"],
    [],
]
RUN_USAGE = [
    ["run"],
    ["run", "--"],
    ["run", "--", ""],
    ["run", "--mode", "sleeping", "--", "true"],
    ["run", "--mode", "--", "true"],
    ["run", "--bogus", "--", "true"],
    ["run", "--delay", "1s", "--mode", "voip", "--", "true"],
    ["run", "--delay", "1s", "--context", "c", "--", "true"],
    ["--bogus", "run", "--", "true"],
]


@pytest.mark.parametrize(
    ("argv", "status"), [*((argv, 2) for argv in USAGE), *((argv, 125) for argv in RUN_USAGE)], ids=repr
)
def test_wrong_usage_is_one_sentence_with_a_remedy(
    argv: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(argv)
    assert caught.value.code == status
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert err.startswith("missionctl")
    assert err.rstrip().endswith("--help`")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"missionctl {__version__}\n"


@pytest.mark.parametrize("verb", ["status", "tasks", "run", "delay", "cancel", "remaining"])
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse([verb, "--help"])
    assert caught.value.code == 0
    assert f"missionctl {verb}" in capsys.readouterr().out
