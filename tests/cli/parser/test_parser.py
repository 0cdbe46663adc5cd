# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
from datetime import datetime

import pytest

from missiond import __version__
from missiond.cli.parser.parser import parse
from missiond.cli.parser.values import until


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


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("18:30", 3_600_000),
        ("17:30:01", 1_000),
        ("17:30", 86_400_000),
        ("7:00", 48_600_000),
        ("2030-12-24 18:30", 3_600_000),
        ("2030-12-31T17:30", 604_800_000),
    ],
)
def test_times_of_the_clock(text: str, milliseconds: int) -> None:
    now = datetime(2030, 12, 24, 17, 30).timestamp()
    assert until(text, now) == milliseconds


@pytest.mark.parametrize(
    "text",
    ["", "18", "24:00", "18:60", "18:30pm", "2030-12-24", "2030-02-30 18:30", "2030-12-24 17:30",
     "2031-01-01 00:00", "1830", "-1:30", "١8:30", "tomorrow"],
)  # fmt: skip
def test_other_times_are_refused(text: str) -> None:
    now = datetime(2030, 12, 24, 17, 30).timestamp()
    with pytest.raises(argparse.ArgumentTypeError, match="is not"):
        until(text, now)


def test_the_time_of_a_delay_with_and_without_its_option() -> None:
    assert parse(["delay", "2min"]).delay == parse(["delay", "--for", "2min"]).delay == 120_000
    assert parse(["delay"]).delay is None


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
    ["delay", "--for", "infinity"],
    ["delay", "--for", "1s", "1s"],
    ["hold", "--until", "25:00"],
    ["hold", "2h", "--until", "18:30"],
    ["hold", "1month"],
    ["hold", "500ms"],
    ["delay", "--pid", "0"],
    ["delay", "--pid", "self"],
    ["delay", "--pid", "4294967296"],
    ["missions", "--on", "\udcff"],
    ["status", "more"],
    ["stat"],
    ["tasks", "--js"],
    ["help", "nothing"],
    ["--verson"],
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


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["statsu"], "did you mean status?; see `missionctl --help`"),
        (["task"], "did you mean tasks?; see `missionctl --help`"),
        (["--verson"], "did you mean --version?; see `missionctl --help`"),
        (["run", "--mod", "x", "--", "true"], "did you mean --mode?; see `missionctl run --help`"),
        (
            ["run", "--mode", "DATATRANSFER", "true"],
            "did you mean dataTransfer?; see `missionctl run --help`",
        ),
        (["hold", "--mode", "keeping"], "did you mean taskKeeping?; see `missionctl hold --help`"),
        (["run", "--keep-alive=restrat", "true"], "did you mean restart?; see `missionctl run --help`"),
        (["peers", "pairs"], "did you mean pair?; see `missionctl peers --help`"),
        (
            ["hold", "1month"],
            "argument TIME: '1month' is not between 1s and 7d; see `missionctl hold --help`",
        ),
        (["status", "--jsn"], "did you mean --json?; see `missionctl status --help`"),
        (["xyzzy"], "there is no verb 'xyzzy'; see `missionctl --help`"),
        (["status", "more"], "'more' is a word too many; see `missionctl status --help`"),
    ],
    ids=repr,
)
def test_mistakes_are_told_with_what_was_meant(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(argv)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "usage: missionctl "),
        (["--session"], "usage: missionctl "),
        (["help"], "usage: missionctl "),
        (["help", "run"], "usage: missionctl run "),
        (["version"], f"missionctl {__version__}\n"),
        (["-V"], f"missionctl {__version__}\n"),
    ],
    ids=repr,
)
def test_what_a_newcomer_types(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(argv)
    assert not caught.value.code
    assert capsys.readouterr().out.startswith(said)
