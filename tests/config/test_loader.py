# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from missiond.config.diagnostics import Problem
from missiond.config.loader import load
from missiond.config.parameters import Parameter, build, value_of
from missiond.config.search_path import SearchPath
from missiond.config.settings import PARAMETERS, Settings
from missiond.config.value_types import (
    ADDRESSES,
    LOCKS,
    SERVICES,
    SHARERS,
    UIDS,
    Flag,
    Number,
    UserTable,
    ValueType,
)
from missiond.core.tasks.locks import WHAT_ORDER
from standins.examples import examples
from standins.generated import generated

OWNERS = frozenset({os.getuid()})


class Etc:
    """A configuration of ever more drop-ins."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.search = SearchPath((root / "lib", root / "etc"), OWNERS)
        self.drop_ins = root / "etc" / "missiond.conf.d"
        self.drop_ins.mkdir(parents=True)

    def drop_in(self, name: str, content: str | bytes) -> Path:
        path = self.drop_ins / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def load(self, previous: Settings | None = None) -> tuple[Settings, list[Problem]]:
        return load(self.search, previous)


@pytest.fixture
def etc(tmp_path: Path) -> Etc:
    return Etc(tmp_path)


def with_requests(count: int) -> Settings:
    settings = Settings()
    return dataclasses.replace(
        settings, transient=dataclasses.replace(settings.transient, max_requests=count)
    )


def test_without_files_there_are_the_defaults(etc: Etc) -> None:
    assert etc.load() == (Settings(), [])
    assert etc.load(with_requests(9)) == (Settings(), [])


def test_the_shipped_sample_changes_nothing(etc: Etc) -> None:
    etc.drop_in("1.conf", (generated() / "missiond.conf").read_bytes())
    assert etc.load() == (Settings(), [])


def test_values_reach_their_fields(etc: Etc) -> None:
    etc.drop_in(
        "1.conf",
        "[Transient]\nMaxRequests=5\nMaxDelay=5min\nWhat=idle:sleep\n[Battery]\nLowPercent=30%\n"
        "[Continuous]\nVoip=sleep\nTaskKeeping=sleep:handle-lid-switch\n[Limits]\nMaxTasks=10\n",
    )
    loaded, problems = etc.load()
    assert problems == []
    assert loaded.transient.max_requests == 5
    assert loaded.transient.max_delay_ms == 300_000
    assert loaded.transient.what == ("sleep", "idle")
    assert loaded.battery.low_percent == 30
    assert loaded.continuous.what["voip"] == ("sleep",)
    assert loaded.continuous.what["taskKeeping"] == ("sleep", "handle-lid-switch")
    assert loaded.continuous.what["location"] == ("sleep",)
    assert loaded.limits.max_tasks == 10


def test_the_last_one_wins_and_an_empty_value_is_the_default(etc: Etc) -> None:
    (etc.root / "lib").mkdir()
    (etc.root / "lib" / "missiond.conf").write_text("[Transient]\nMaxRequests=5\nQuota=1h\n")
    etc.drop_in("1.conf", "[Transient]\nMaxRequests=6\nMaxRequests=7\n")
    etc.drop_in("2.conf", "[Transient]\nQuota=\n")
    loaded, problems = etc.load()
    assert problems == []
    assert loaded.transient.max_requests == 7
    assert loaded.transient.quota_ms == 600_000


def test_a_bad_value_keeps_the_old_one_and_says_where(etc: Etc) -> None:
    path = etc.drop_in("1.conf", "[Transient]\nMaxRequests=5\n\n# more\nMaxRequests=many\nQuota=1h\n")
    loaded, problems = etc.load()
    assert loaded.transient.max_requests == 5
    assert loaded.transient.quota_ms == 3_600_000
    assert [str(problem) for problem in problems] == [
        f"{path}:5: [Transient] MaxRequests=many: not a whole number, 1 to 100; 5 stays in force"
    ]
    assert problems[0].error
    loaded, problems = etc.load(with_requests(9))
    assert loaded.transient.max_requests == 9
    assert "9 stays in force" in str(problems[0])


def test_a_good_value_after_a_bad_one_counts(etc: Etc) -> None:
    etc.drop_in("1.conf", "[Transient]\nMaxRequests=many\n")
    etc.drop_in("2.conf", "[Transient]\nMaxRequests=4\n")
    loaded, problems = etc.load(with_requests(9))
    assert loaded.transient.max_requests == 4
    assert len(problems) == 1


def test_unknown_names_are_warnings_and_extensions_are_left_alone(etc: Etc) -> None:
    etc.drop_in(
        "1.conf",
        "[Transient]\nmaxrequests=5\nX-Mine=1\n[Strange]\nA=1\nB=2\n[X-Other]\nA=1\n[Battery]\nLowPercent=10\n"
        "[battery]\nLowPercent=5\n[Strange]\nC=3\n",
    )
    loaded, problems = etc.load()
    assert loaded.transient.max_requests == 3
    assert loaded.battery.low_percent == 10
    assert not any(problem.error for problem in problems)
    assert [str(problem).partition("1.conf:")[2] for problem in problems] == [
        "2: [Transient] maxrequests=5: ignored: no such key, did you mean MaxRequests?",
        "5: [Strange]: all its 3 keys are ignored: no such section",
        "12: [battery]: its key is ignored: no such section, did you mean Battery?",
    ]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("[Transient]\nMaxDelay=30s\n", "LowBatteryMaxDelay=1min and MaxDelay=3min"),
        ("[Transient]\nQuota=10s\n", "MinimumQuota=16s and Quota=10min"),
        ("[Transient]\nQuotaPeriod=5min\n", "Quota=10min and QuotaPeriod=1d"),
        ("[Transient]\nWarningTime=2min\n", "WarningTime=6s and LowBatteryMaxDelay=1min"),
        ("[Battery]\nCriticalPercent=25\n", "CriticalPercent=5 and LowPercent=20"),
    ],
)
def test_values_that_do_not_go_together_are_undone_and_named(etc: Etc, text: str, kept: str) -> None:
    path = etc.drop_in("1.conf", text)
    loaded, problems = etc.load()
    assert loaded == Settings()
    assert len(problems) == 1
    assert str(problems[0]).startswith(f"{path}:2: [")
    assert kept in str(problems[0])


def test_a_chain_of_clashes_ends_with_values_that_go_together(etc: Etc) -> None:
    etc.drop_in("1.conf", "[Transient]\nMaxDelay=30s\nLowBatteryMaxDelay=40s\nWarningTime=50s\n")
    loaded, problems = etc.load()
    assert loaded.transient.low_battery_max_delay_ms == 60_000
    assert loaded.transient.max_delay_ms == 180_000
    assert loaded.transient.warning_time_ms == 50_000
    assert len(problems) == 1


def test_previous_settings_that_do_not_go_together_do_not_loop(etc: Etc) -> None:
    etc.drop_in("1.conf", "[Battery]\nCriticalPercent=40\nLowPercent=30\n")
    odd = dataclasses.replace(
        Settings(), battery=dataclasses.replace(Settings().battery, critical_percent=90)
    )
    assert len(etc.load(odd)[1]) <= len(PARAMETERS)


def test_a_file_that_cannot_be_read_changes_nothing_else(etc: Etc) -> None:
    etc.drop_in("1.conf", "[Battery]\nLowPercent=10\n")
    etc.drop_in("2.conf", b"\0\1\2")
    os.mkfifo(etc.drop_ins / "3.conf")
    (etc.drop_ins / "4.conf").mkdir()
    (etc.drop_ins / "5.conf").symlink_to("nowhere")
    loaded, problems = etc.load(with_requests(9))
    # 9 may come from one of the unreadable files.
    assert loaded.transient.max_requests == 9
    assert loaded.battery.low_percent == 10
    assert [Path(problem.path).name for problem in problems] == ["2.conf", "3.conf", "4.conf", "5.conf"]
    assert all(problem.error for problem in problems)
    assert etc.load()[0].transient.max_requests == 3


def test_a_linked_file_counts_and_is_named_as_the_link(etc: Etc) -> None:
    target = etc.root / "elsewhere"
    target.write_text("[Transient]\nMaxRequests=4\nNope=1\n")
    (etc.drop_ins / "1.conf").symlink_to(target)
    loaded, problems = etc.load()
    assert loaded.transient.max_requests == 4
    assert str(problems[0]).startswith(f"{etc.drop_ins}/1.conf:3: ")


def test_thousands_of_problems_are_a_few_lines(etc: Etc) -> None:
    etc.drop_in("1.conf", "[Transient]\n" + "Nope=1\n" * 5000 + "Quota=1h\n")
    loaded, problems = etc.load()
    assert loaded.transient.quota_ms == 3_600_000
    assert len(problems) == 21
    assert problems[-1].text == "4980 more problems"


def test_long_and_odd_values_are_shown_short_and_printable(etc: Etc) -> None:
    etc.drop_in(
        "1.conf", b"[Transient]\nQuota=" + b"9" * 100_000 + b"\nWhat=\xff\xe2\x80\xae\nMaxDelay=1\xc2\x9bs\n"
    )
    loaded, problems = etc.load()
    assert loaded == Settings()
    assert len(problems) == 3
    assert all(len(str(problem)) < 400 and str(problem).isprintable() for problem in problems)


def a_value(parameter: Parameter) -> st.SearchStrategy[object]:
    kind = parameter.kind
    if isinstance(kind, Number):
        return st.integers(kind.least, kind.most)
    if isinstance(kind, Flag):
        return st.booleans()
    return a_list(kind)


def a_list(kind: ValueType) -> st.SearchStrategy[object]:
    if kind in (UIDS, SHARERS):
        uids = st.sets(st.integers(0, 2**32 - 2), max_size=5).map(lambda uids: tuple(sorted(uids)))
        return uids | st.none() if kind == SHARERS else uids
    if kind == ADDRESSES:
        return st.lists(st.ip_addresses().map(str), max_size=3, unique=True).map(tuple)
    if kind == SERVICES:
        names = st.sets(st.sampled_from(["a.service", "b@c.service", "d-\\x2d.service"]))
        return names.map(lambda chosen: tuple(sorted(chosen)))
    if isinstance(kind, UserTable):
        pairs = st.dictionaries(st.sampled_from(["alice", "b.c", "*"]), st.sampled_from(["bob", "-", "x$"]))
        return pairs.map(lambda table: tuple(table.items()))
    assert kind == LOCKS
    return st.sets(st.sampled_from(WHAT_ORDER), min_size=1).map(
        lambda words: tuple(word for word in WHAT_ORDER if word in words)
    )


WHOLE = st.fixed_dictionaries({parameter: a_value(parameter) for parameter in PARAMETERS}).map(
    lambda values: build(Settings, values)
)


@settings(deadline=None, max_examples=examples(100))
@given(WHOLE, st.integers(0, 3))
def test_written_and_loaded_settings_are_the_same_where_they_go_together(
    wanted: Settings, previous: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        etc = Etc(Path(directory))
        for parameter in PARAMETERS:
            text = parameter.kind.format(value_of(wanted, parameter))
            name = f"{parameter.section}-{parameter.key}.conf"
            etc.drop_in(name, f"[{parameter.section}]\n{parameter.key}={text}\n")
        loaded, problems = etc.load(with_requests(previous) if previous else None)
    limits = loaded.transient
    assert limits.warning_time_ms <= limits.low_battery_max_delay_ms <= limits.max_delay_ms
    assert limits.minimum_quota_ms <= limits.quota_ms <= limits.quota_period_ms
    assert loaded.battery.critical_percent <= loaded.battery.low_percent
    assert (loaded == wanted) == (not problems)
    assert loaded.continuous == wanted.continuous
    assert loaded.limits == wanted.limits


@settings(deadline=None, max_examples=examples(100))
@given(st.lists(st.sampled_from(["1", "2", "3"]), max_size=3, unique=True), st.data())
def test_drop_in_precedence_is_that_of_a_simple_model(names: list[str], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        layers = [root / "lib", root / "run", root / "etc"]
        expected = 3
        chosen: dict[str, int | None] = {}
        for layer in layers:
            (layer / "missiond.conf.d").mkdir(parents=True)
            for name in names:
                what = data.draw(st.sampled_from(["none", "mask", "empty"]) | st.integers(4, 100))
                path = layer / "missiond.conf.d" / f"{name}.conf"
                if what == "mask":
                    path.symlink_to(os.devnull)
                elif what != "none":
                    path.write_text(f"[Transient]\nMaxRequests={what}\n" if isinstance(what, int) else "")
                if what != "none":
                    chosen[name] = what if isinstance(what, int) else None
        for name in sorted(chosen):
            expected = chosen[name] or expected
        loaded, problems = load(SearchPath(tuple(layers), OWNERS))
    assert problems == []
    assert loaded.transient.max_requests == expected


@settings(deadline=None, max_examples=examples(200))
@given(
    st.lists(
        st.sampled_from(
            ["[Transient]", "[Battery]", "[Nope]", "[", "MaxRequests=", "LowPercent=5", "Quota=1s"]
        )
        | st.text(max_size=30),
        max_size=12,
    )
)
def test_no_content_makes_loading_fail(content: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        etc = Etc(Path(directory))
        etc.drop_in("1.conf", "\n".join(content).encode("utf-8", "surrogatepass"))
        loaded, problems = etc.load()
    assert isinstance(loaded, Settings)
    assert all(str(problem).isprintable() for problem in problems)
