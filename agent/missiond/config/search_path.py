# SPDX-License-Identifier: Apache-2.0
"""Files of the configuration, and the order."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from missiond.config.diagnostics import Problem
from missiond.store.safe_files import ForeignFileError, is_trusted

_NAME = "missiond.conf"
# In rising order of importance, as for systemd's own daemons (systemd-system.conf(5)).
ROOT = frozenset({0})
DIRECTORIES = (Path("/usr/lib/missiond"), Path("/run/missiond"), Path("/etc/missiond"))


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """One file to read: the name for people, and the path with links followed."""

    path: Path
    target: Path


@dataclass(frozen=True, slots=True)
class SearchPath:
    """Directories of ``missiond.conf`` and ``missiond.conf.d/``, in rising order of importance.

    What others than the owners could have written is passed over: /run/missiond is the agent's own, and what
    its user puts there must not become the configuration of missiond-peers, which has the network.
    """

    directories: tuple[Path, ...] = DIRECTORIES
    owners: frozenset[int] = ROOT

    def sources(self) -> tuple[list[ConfigFile], list[Problem]]:
        """Return the files to read, later ones win, and problems of the directories.

        First ``missiond.conf`` from each directory, then every ``missiond.conf.d/*.conf``, sorted by file
        name wherever they are. A drop-in replaces those of the same name in less important directories; any
        file is masked by a link to /dev/null of its name in a more important one.
        """
        problems: list[Problem] = []
        mains = [path for each in self.directories if self._is_ours(path := each / _NAME, problems)]
        masked = max((at for at, path in enumerate(mains) if _is_mask(path)), default=-1)
        drop_ins: dict[str, Path] = {}
        for directory in self.directories:
            place = directory / f"{_NAME}.d"
            if not self._is_ours(place, problems) or not self._is_ours(_target(place), problems):
                continue
            names, problem = _list(place)
            problems += problem
            drop_ins.update((path.name, path) for path in names if self._is_ours(path, problems))
        paths = mains[masked + 1 :] + [drop_ins[name] for name in sorted(drop_ins)]
        return [ConfigFile(path, _target(path)) for path in paths if not _is_mask(path)], problems

    def _is_ours(self, path: Path, problems: list[Problem]) -> bool:
        """Return whether something of this name is there and the owners' (a link: the link itself)."""
        try:
            found = path.lstat()
        except OSError:  # not there; what else may be wrong is told where it is read
            return False
        if is_trusted(found, self.owners):
            return True
        problems.append(Problem(str(path), 0, f"ignored: {ForeignFileError(str(path)).strerror}"))
        return False


def _list(directory: Path) -> tuple[list[Path], list[Problem]]:
    try:
        names = os.listdir(directory)  # noqa: PTH208 (names are all that is wanted)
    except (FileNotFoundError, NotADirectoryError):
        return [], []
    except OSError as error:
        return [], [Problem(str(directory), 0, f"ignored: {error.strerror}")]
    # Hidden files are what editors and package managers leave.
    return [directory / name for name in names if name.endswith(".conf") and not name.startswith(".")], []


def _target(path: Path) -> Path:
    # Administrators may link configuration files together; only what is at the end of the links is opened.
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _is_mask(path: Path) -> bool:
    return path.is_symlink() and os.path.realpath(path) == os.devnull
