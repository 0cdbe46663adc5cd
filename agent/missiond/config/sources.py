# SPDX-License-Identifier: Apache-2.0
"""Which files make up the configuration, and in which order."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from missiond.config.problems import Problem

_NAME = "missiond.conf"
# In rising order of importance, as for systemd's own daemons (systemd-system.conf(5)).
DIRECTORIES = (Path("/usr/lib/missiond"), Path("/run/missiond"), Path("/etc/missiond"))


@dataclass(frozen=True, slots=True)
class Source:
    """One file to read: its name for people, and where it is once links are followed."""

    path: Path
    target: Path


@dataclass(frozen=True, slots=True)
class SearchPath:
    """Directories that hold ``missiond.conf`` and ``missiond.conf.d/``, in rising order of importance."""

    directories: tuple[Path, ...] = DIRECTORIES

    def sources(self) -> tuple[list[Source], list[Problem]]:
        """Return the files to read, later ones win, and what was wrong with the directories.

        First ``missiond.conf`` from each directory, then every ``missiond.conf.d/*.conf``, sorted by file
        name wherever they are. A drop-in replaces those of the same name in less important directories; any
        file is masked by a link to /dev/null of its name in a more important one.
        """
        mains = [path for directory in self.directories if _exists(path := directory / _NAME)]
        masked = max((at for at, path in enumerate(mains) if _is_mask(path)), default=-1)
        problems: list[Problem] = []
        drop_ins: dict[str, Path] = {}
        for directory in self.directories:
            names, problem = _list(directory / f"{_NAME}.d")
            problems += problem
            drop_ins.update((path.name, path) for path in names)
        paths = mains[masked + 1 :] + [drop_ins[name] for name in sorted(drop_ins)]
        return [Source(path, _target(path)) for path in paths if not _is_mask(path)], problems


def _list(directory: Path) -> tuple[list[Path], list[Problem]]:
    try:
        names = os.listdir(directory)  # noqa: PTH208 (names are all that is wanted)
    except (FileNotFoundError, NotADirectoryError):
        return [], []
    except OSError as error:
        return [], [Problem(str(directory), 0, f"ignored: {error.strerror}")]
    # Hidden files are what editors and package managers leave.
    return [directory / name for name in names if name.endswith(".conf") and not name.startswith(".")], []


def _exists(path: Path) -> bool:
    return os.path.lexists(path)


def _target(path: Path) -> Path:
    # Administrators may link configuration files together; only what is at the end of the links is opened.
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _is_mask(path: Path) -> bool:
    return path.is_symlink() and os.path.realpath(path) == os.devnull
