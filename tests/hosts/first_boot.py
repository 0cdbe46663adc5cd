# SPDX-License-Identifier: Apache-2.0
"""Make the tree of a host that has never been booted, as images are before their first boot."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def never_booted(tree: Path) -> Iterator[Path]:
    """Yield a tree like this one, but without /etc/machine-id; it is removed afterwards.

    systemd takes a host without that file for one that boots for the first time, and applies presets
    (machine-id(5), "First Boot Semantics"); an empty file is no first boot.
    """
    with tempfile.TemporaryDirectory(prefix="missiond-image-") as directory:
        image = Path(directory, "image")
        for name in ("image", "upper", "work"):
            Path(directory, name).mkdir()
        layers = f"lowerdir={tree},upperdir={directory}/upper,workdir={directory}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, str(image)], check=True)
        try:
            Path(image, "etc/machine-id").unlink()
            yield image
        finally:
            subprocess.run(["umount", str(image)], check=True)
