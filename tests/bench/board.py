# SPDX-License-Identifier: Apache-2.0
"""The table of what was measured."""

from __future__ import annotations

from dataclasses import dataclass, field

HEAD = ("release", "measured", "figure", "goal", "baseline of this run", "ratio", "")


@dataclass(frozen=True)
class Goal:
    """At most this much, of the figure or of its ratio to the baseline (`times`)."""

    most: float
    times: bool = False


@dataclass(frozen=True)
class Baseline:
    """What the figure is compared with: what it is, and how much it took in the same run and unit."""

    name: str
    figure: float


@dataclass(frozen=True)
class Row:
    """One figure, in `unit`, with `digits` after the point; `note` is anything else to say."""

    release: str
    measured: str
    figure: float
    unit: str
    goal: Goal | None = None
    baseline: Baseline | None = None
    note: str = ""
    digits: int = 0

    @property
    def ratio(self) -> float | None:
        """Figure by baseline."""
        return None if self.baseline is None else self.figure / self.baseline.figure

    @property
    def met(self) -> bool | None:
        """Whether it is as good as wanted; None where nothing is."""
        if self.goal is None:
            return None
        figure = self.ratio if self.goal.times else self.figure
        assert figure is not None
        return figure <= self.goal.most

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        goal = base = ratio = ""
        if self.goal is not None:
            goal = f"<= {self.goal.most:g}x" if self.goal.times else f"<= {self.goal.most:g} {self.unit}"
        if self.baseline is not None:
            base = f"{self.baseline.name} {self._number(self.baseline.figure)}"
            ratio = f"{self.ratio:.2f}x"
        verdict = {None: "", True: "met", False: "MISSED"}[self.met]
        last = ", ".join(filter(None, (verdict, self.note)))
        return self.release, self.measured, self._number(self.figure), goal, base, ratio, last

    def _number(self, figure: float) -> str:
        return f"{figure:.{self.digits}f} {self.unit}"


@dataclass
class Board:
    """All rows; those of one measurement together, whatever the order in which they came."""

    rows: list[Row] = field(default_factory=list)

    def add(self, *rows: Row) -> None:
        """Put them on the board."""
        self.rows.extend(rows)

    def text(self) -> str:
        """The table."""
        first = {row.measured: place for place, row in reversed(list(enumerate(self.rows)))}
        rows = sorted(self.rows, key=lambda row: (first[row.measured], row.release))
        lines = [HEAD, *(row.cells() for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        return "\n".join([padded[0], "-" * max(map(len, padded)), *padded[1:], ""])
