# SPDX-License-Identifier: Apache-2.0
"""What the machines boot from, and whether they can be booted here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from hosts import trees

SUITES = tuple(os.environ.get("MISSIOND_VM_SUITES", "bookworm trixie").split())
_BATTERY = Path(__file__).with_name("battery.dsl")


def missing() -> str | None:
    """Return why machines cannot be booted here, None when they can."""
    reason = trees.missing()
    if reason is not None:
        return reason
    for program, package in (("qemu-system-x86_64", "qemu-system-x86"), ("iasl", "acpica-tools")):
        if shutil.which(program) is None:
            return f"{program} is not there; install {package}"
    return None


def accelerator() -> list[str]:
    """Return qemu's options for the processor: the real one where it can be had, else an emulated one."""
    flags = re.search(r"^flags\s*:.*\b(vmx|svm)\b", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    if flags and os.access("/dev/kvm", os.R_OK | os.W_OK):
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg,thread=multi", "-cpu", "qemu64"]


def battery(directory: Path) -> Path:
    """Compile the ACPI table with the battery into directory."""
    prefix = directory / "battery"
    done = subprocess.run(
        ["iasl", "-p", str(prefix), str(_BATTERY)], check=False, capture_output=True, text=True, timeout=60
    )
    if done.returncode != 0:
        raise RuntimeError(f"iasl failed:\n{done.stdout}{done.stderr}")
    return prefix.with_suffix(".aml")
