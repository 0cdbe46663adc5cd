# SPDX-License-Identifier: Apache-2.0
"""The man pages tell what the programs do."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

from missiond.cli.parser import build
from missiond.core.modes import BackgroundMode

ROOT = Path(__file__).resolve().parents[2]
MAN = ROOT / "packaging/man"
FLAG = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    return {flag for action in parser._actions for flag in action.option_strings}


def verbs() -> dict[str, argparse.ArgumentParser]:
    (action,) = (action for action in build()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(action.choices)


def page(name: str) -> str:
    return (MAN / name).read_text(encoding="utf-8").replace("\\-", "-")


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
    sections = {
        section.split()[0]: section
        for section in page("missionctl.1").split(".SH VERBS")[1].split(".SH EXIT")[0].split(".SS ")[1:]
    }
    assert set(sections) == set(verbs())
    assert tagged_flags(sections[verb]) == flags_of(verbs()[verb]) - {"-h", "--help", "--session"}


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
        "-h", "--help", *re.findall(r"^  (--[a-z]+)", done.stdout, re.MULTILINE),
    }  # fmt: skip


def test_interface_reference_is_that_of_the_xml() -> None:
    written = subprocess.run(
        [sys.executable, ROOT / "packaging/lib/interface-page"], capture_output=True, check=True, text=True
    ).stdout
    assert page("org.missiond.Agent1.5") == written.replace("\\-", "-"), (
        "run packaging/lib/interface-page again"
    )
    for file in (ROOT / "dbus").glob("org.missiond.Agent1.*.xml"):
        for name in re.findall(r'<(?:method|signal|property|interface|arg) name="([^"]+)"', file.read_text()):
            assert name in page("org.missiond.Agent1.5"), name
