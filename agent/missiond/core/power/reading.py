# SPDX-License-Identifier: Apache-2.0
"""How the host's power supply is at one moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PowerReading:
    """One look at all batteries and external supplies.

    `percent` is the charge of all system batteries together (0 to 100), None where there is a battery
    that never told one. Where a battery's own measures are far apart it is the lower, and `most` the
    higher. `told` is false where no battery told its charge at this look, and an earlier one stands
    for it. A host without a battery is `present=False, external=True`.
    """

    present: bool
    percent: float | None
    external: bool
    discharging: bool
    most: float | None = None
    told: bool = True

    @property
    def at_most(self) -> float:
        """The highest charge in percent of all measures; 100 without any."""
        if self.most is not None:
            return self.most
        return 100.0 if self.percent is None else self.percent


MAINS = PowerReading(present=False, percent=None, external=True, discharging=False)
