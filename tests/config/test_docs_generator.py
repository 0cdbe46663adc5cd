# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from missiond.config import docs_generator
from missiond.config.settings import PARAMETERS

PACKAGING = Path(__file__).parents[2] / "packaging"
PAGE = PACKAGING / "man" / "missiond.conf.5"


def test_the_committed_sample_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert docs_generator.main([]) == 0
    assert capsys.readouterr().out == (PACKAGING / "missiond.conf").read_text(), (
        "run: python -m missiond.config.docs_generator > packaging/missiond.conf"
    )


def test_the_generated_part_of_the_manual_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert docs_generator.main(["--man", str(PAGE)]) == 0
    assert capsys.readouterr().out == PAGE.read_text(), (
        "run: python -m missiond.config.docs_generator --man packaging/man/missiond.conf.5, and put it there"
    )


def test_the_manual_part_alone_names_every_key_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert docs_generator.main(["--man"]) == 0
    text = capsys.readouterr().out
    assert text in PAGE.read_text()
    for parameter in PARAMETERS:
        assert f"\n.IR {parameter.key} =\n" in text
        assert f"default {parameter.default}." in text.replace("\\-", "-")
    assert not any(line.startswith("'") for line in text.splitlines())


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="marks"):
        docs_generator.man_page(".TH X 5\n")


def test_every_key_of_the_sample_is_commented_and_works_when_it_is_not() -> None:
    lines = docs_generator.sample().splitlines()
    assert not any("=" in line and not line.startswith("#") for line in lines)
    for parameter in PARAMETERS:
        assert f"#{parameter.key}={parameter.default}" in lines
        assert parameter.parse("") == parameter.kind.parse(parameter.default)


def test_runs_as_a_module() -> None:
    agent = Path(__file__).parents[2] / "agent"
    output = subprocess.run(
        [sys.executable, "-m", "missiond.config.docs_generator"],
        cwd=agent,
        check=True,
        capture_output=True,
        timeout=15,
    ).stdout
    assert output.decode() == docs_generator.sample()
