# SPDX-License-Identifier: Apache-2.0
"""The man pages tell what the programs do."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

from missiond.cli.parser.parser import build
from missiond.core.tasks.modes import BackgroundMode

from .manual import json_keys, page, sections

ROOT = Path(__file__).resolve().parents[2]
FLAG = re.compile(r"(?<![\w-])--?[a-zA-Z][a-z-]*")


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    return {flag for action in parser._actions for flag in action.option_strings}


def verbs() -> dict[str, argparse.ArgumentParser]:
    (action,) = (action for action in build()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(action.choices)


def tagged_flags(roff: str) -> set[str]:
    """Flags in the lines that follow a .TP."""
    return {
        flag
        for line in re.findall(r"^\.TP\n\.B[RI]* (.*)$", roff, re.MULTILINE)
        for flag in FLAG.findall(line)
    }


def test_common_options() -> None:
    section = page("missionctl.1").split(".SH OPTIONS")[1].split(".SH")[0]
    assert tagged_flags(section) == flags_of(build())


@pytest.mark.parametrize("verb", sorted(verbs()))
def test_every_verb_and_its_options(verb: str) -> None:
    assert set(sections()) == set(verbs())
    assert tagged_flags(sections()[verb]) == flags_of(verbs()[verb]) - {
        "-h", "--help", "--session", "--no-ask-password",
    }  # fmt: skip


@pytest.mark.parametrize(
    "verb", sorted(verb for verb in verbs() if "--json" in flags_of(verbs()[verb]) and verb != "hold")
)
def test_keys_of_json_are_named(verb: str) -> None:
    """Those that are printed are held to these by the fixture `missionctl`."""
    assert len(json_keys(verb)) > 3


def test_modes() -> None:
    text = page("missionctl.1")
    assert all(re.search(rf"\b{mode.item}\b", text) for mode in BackgroundMode)


def test_options_of_the_daemon(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "missiond", "--help"],
        env=environment,
        capture_output=True,
        check=True,
        text=True,
    )
    section = page("missiond.8").split(".SH OPTIONS")[1].split(".SH")[0]
    assert tagged_flags(section) == set(FLAG.findall(done.stdout.split("options:")[1])) & {
        "-h", "--help", *re.findall(r"^  (--[a-z-]+)", done.stdout, re.MULTILINE),
    }  # fmt: skip


def test_the_interface_page_names_all_of_the_xml() -> None:
    for file in (ROOT / "dbus").glob("org.missiond.Agent1.*.xml"):
        for name in re.findall(r'<(?:method|signal|property|interface|arg) name="([^"]+)"', file.read_text()):
            assert name in page("org.missiond.Agent1.5"), name
