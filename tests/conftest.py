# SPDX-License-Identifier: Apache-2.0
"""Fixtures for all tests."""

from __future__ import annotations

import gc
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from standins.examples import examples
from standins.services.private_bus import private_bus, system_bus

__all__ = ["private_bus", "system_bus"]

# How long an example takes says how busy this machine is, and nothing about what is tested.
settings.register_profile(
    "suites", max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suites")


@given(st.none())
def _first(_: None) -> None:
    """An example of nothing."""


def pytest_collection_finish() -> None:
    """Spare the garbage collector what was imported and collected: some tests have it look at everything."""
    _first()  # Hypothesis asks the collector then who refers to its random numbers: nobody, once frozen
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the slowest modules as well, where the slowest tests are asked for."""
    shown = config.getoption("durations", None)
    if not shown:
        return
    took: Counter[str] = Counter()
    tests: dict[str, set[str]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                module = report.nodeid.partition("::")[0]
                took[module] += report.duration  # type: ignore[assignment]  # a float
                tests.setdefault(module, set()).add(report.nodeid)
    terminalreporter.section(f"slowest {shown} modules")
    for module, seconds in took.most_common(shown):
        terminalreporter.write_line(f"{seconds:.1f}s in {len(tests[module])} tests of {module}")
