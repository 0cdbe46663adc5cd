# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from missiond.config.settings import PARAMETERS
from standins.generated import generated, manual


def test_the_manual_names_every_key_and_default() -> None:
    text = manual("missiond.conf.5")
    for parameter in PARAMETERS:
        assert f"\n.IR {parameter.key} =\n" in text
        assert f"default {parameter.default}." in text.replace("\\-", "-")
    assert not any(line.startswith("'") for line in text.splitlines()[1:])


def test_every_key_of_the_sample_is_commented_and_works_when_it_is_not() -> None:
    lines = (generated() / "missiond.conf").read_text().splitlines()
    assert not any("=" in line and not line.startswith("#") for line in lines)
    for parameter in PARAMETERS:
        assert f"#{parameter.key}={parameter.default}" in lines
        assert parameter.parse("") == parameter.kind.parse(parameter.default)
