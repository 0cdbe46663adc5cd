# SPDX-License-Identifier: Apache-2.0
"""Each unit that can be enabled is named by the preset, and as the package enables it."""

from __future__ import annotations

import re
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
SYSTEMD = SOURCE / "systemd"


def _preset() -> dict[str, str]:
    lines = (SYSTEMD / "missiond.preset").read_text().splitlines()
    words = [line.split() for line in lines if line and not line.startswith("#")]
    return {unit: verb for verb, unit in words}


def test_every_unit_with_an_install_section_has_a_preset() -> None:
    """What no preset names is turned on at the first boot of an image."""
    units = {unit.name for unit in SYSTEMD.iterdir() if "[Install]" in unit.read_text()}
    assert _preset().keys() == units


def test_the_package_and_the_preset_say_the_same() -> None:
    """One for hosts where it is installed, the other for images."""
    rules = (SOURCE / "packaging/debian/rules").read_text()
    off = {f"{name}.service" for name in re.findall(r"--name=(\S+) --no-enable", rules)}
    assert {unit for unit, verb in _preset().items() if verb == "disable"} == off
