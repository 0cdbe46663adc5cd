# SPDX-License-Identifier: Apache-2.0
"""From configuration files to settings."""

from __future__ import annotations

from collections.abc import Iterator

from missiond.config.diagnostics import Problem, shortened
from missiond.config.ini import PROBLEM_LIMIT, Assignment, IniFile, read_ini
from missiond.config.parameters import Parameter, build, value_of
from missiond.config.search_path import SearchPath
from missiond.config.settings import ORDERED, PARAMETERS, Settings
from missiond.core.near_names import did_you_mean

_BY_NAME = {(parameter.section, parameter.key): parameter for parameter in PARAMETERS}
_BY_PLACE = {parameter.place: parameter for parameter in PARAMETERS}
_SECTIONS = {parameter.section for parameter in PARAMETERS}
VALUE_LIMIT = 256


def load(
    search: SearchPath | None = None, previous: Settings | None = None
) -> tuple[Settings, list[Problem]]:
    """Read the configuration; never raises for any content or kind of file.

    :param search: where to look; by default the system's directories.
    :param previous: the settings in force: what a bad value leaves as it is. By default the files' other
        values, and in the end the defaults.
    :return: the settings, and what was wrong, in the order of the files.
    """
    search = search or SearchPath()
    sources, problems = search.sources()
    files = [read_ini(source.path, source.target, search.owners) for source in sources]
    loading = _Loading(previous, keep_all=any(not file.readable for file in files))
    for file in files:
        problems += _limited([*file.problems, *loading.take(file)])
    problems += loading.settle()
    return build(Settings, loading.values), problems


class _Loading:
    """Values that are being collected, and the lines they came from."""

    def __init__(self, previous: Settings | None, *, keep_all: bool) -> None:
        """With ``keep_all`` a file is missing from the picture: what no other file sets stays as it is."""
        defaults = Settings()
        self._fallback = previous or defaults
        base = self._fallback if keep_all else defaults
        self._previous = previous
        self.values = {parameter: value_of(base, parameter) for parameter in PARAMETERS}
        self._lines: dict[Parameter, Assignment] = {}

    def take(self, file: IniFile) -> Iterator[Problem]:
        """Take over what a file sets."""
        unknown: dict[str, list[Assignment]] = {}
        for line in file.assignments:
            parameter = _BY_NAME.get((line.section, line.key))
            if parameter is not None:
                yield from self._set(parameter, line)
            elif line.section.startswith("X-") or line.key.startswith("X-"):
                continue
            elif line.section in _SECTIONS:
                keys = (key for section, key in _BY_NAME if section == line.section)
                yield line.problem(f"ignored: no such key{did_you_mean(line.key, keys)}", error=False)
            else:
                unknown.setdefault(line.section, []).append(line)
        yield from map(_no_such_section, unknown.values())

    def _set(self, parameter: Parameter, line: Assignment) -> Iterator[Problem]:
        try:
            value = self._parse(parameter, line.value)
        except ValueError as error:
            if self._previous is not None:
                self.values[parameter] = value_of(self._previous, parameter)
            kept = parameter.kind.format(self.values[parameter])
            yield line.problem(f"{error}; {kept} stays in force")
            return
        self.values[parameter] = value
        self._lines[parameter] = line

    @staticmethod
    def _parse(parameter: Parameter, text: str) -> object:
        if len(text) > VALUE_LIMIT:
            raise ValueError(f"longer than {VALUE_LIMIT} characters")
        return parameter.parse(text)

    def settle(self) -> Iterator[Problem]:
        """Undo values that do not go together.

        Each turn takes at least one value back to the fallback, whose values do go together.
        """
        for _ in PARAMETERS:
            clash = self._clash()
            if clash is None:
                return
            first, second = clash
            last = self._to_blame(first, second)
            text = f"{first.key}= is above {second.key}=; "
            for parameter in clash:
                self.values[parameter] = value_of(self._fallback, parameter)
            kept = (f"{each.key}={each.kind.format(self.values[each])}" for each in clash)
            text += f"{' and '.join(kept)} stay in force"
            yield last.problem(text) if last else Problem("missiond.conf", 0, text)

    def _to_blame(self, *parameters: Parameter) -> Assignment | None:
        lines = [self._lines[parameter] for parameter in parameters if parameter in self._lines]
        return lines[-1] if lines else None

    def _clash(self) -> tuple[Parameter, Parameter] | None:
        for first_place, second_place in ORDERED:
            first, second = _BY_PLACE[first_place], _BY_PLACE[second_place]
            low, high = self.values[first], self.values[second]
            if isinstance(low, int) and isinstance(high, int) and low > high:
                return first, second
        return None


def _no_such_section(lines: list[Assignment]) -> Problem:
    """Tell of a section once, at its first key."""
    first = lines[0]
    keys = "its key is" if len(lines) == 1 else f"all its {len(lines)} keys are"
    text = f"{keys} ignored: no such section{did_you_mean(first.section, sorted(_SECTIONS))}"
    return Problem(first.path, first.line, text, f"[{shortened(first.section)}]", error=False)


def _limited(problems: list[Problem]) -> list[Problem]:
    """Return the first problems of a file; a log is no place for thousands."""
    problems = sorted(problems, key=lambda problem: problem.line)
    more = len(problems) - PROBLEM_LIMIT
    if more <= 0:
        return problems
    first = problems[:PROBLEM_LIMIT]
    return [*first, Problem(first[0].path, 0, f"{more} more problems", error=any(p.error for p in problems))]
