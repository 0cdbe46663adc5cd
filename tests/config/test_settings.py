# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses

import pytest

from missiond.config.parameters import build, value_of
from missiond.config.settings import ORDERED, PARAMETERS, Settings
from missiond.core.tasks.modes import BackgroundMode


def test_defaults_are_the_documented_numbers() -> None:
    settings = Settings()
    assert dataclasses.astuple(settings.transient) == (
        3, 180_000, 60_000, 600_000, 86_400_000, 16_000, 6_000, ("sleep",),
    )  # fmt: skip
    assert dataclasses.astuple(settings.battery) == (20, 2, 5, 2)
    assert settings.continuous.max_tasks_per_user == 1000
    assert dataclasses.astuple(settings.limits) == (128, 4096, 1024)


def test_every_mode_has_a_lock_by_its_name_on_the_bus() -> None:
    what = Settings().continuous.what
    assert list(what) == [mode.item for mode in BackgroundMode]
    assert what["voip"] == ("sleep", "idle")
    assert {words for mode, words in what.items() if mode != "voip"} == {("sleep",)}
    with pytest.raises(TypeError):
        what["voip"] = ()  # type: ignore[index]


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().transient.max_requests = 4  # type: ignore[misc]


def test_every_field_is_set_by_exactly_the_declared_keys() -> None:
    assert len({(parameter.section, parameter.key) for parameter in PARAMETERS}) == len(PARAMETERS)
    fields = {
        (part.name.removesuffix("_"), field.name)
        for part in dataclasses.fields(Settings)
        for field in dataclasses.fields(getattr(Settings(), part.name))
    }
    assert {(parameter.section.lower(), parameter.field) for parameter in PARAMETERS} == fields
    assert all(parameter.doc.endswith(".") for parameter in PARAMETERS)


def test_built_from_its_own_values_it_is_the_same() -> None:
    settings = Settings()
    assert build(Settings, {parameter: value_of(settings, parameter) for parameter in PARAMETERS}) == settings


def test_defaults_go_together() -> None:
    values = {parameter.place: value_of(Settings(), parameter) for parameter in PARAMETERS}
    for low, high in ORDERED:
        first, second = values[low], values[high]
        assert isinstance(first, int)
        assert isinstance(second, int)
        assert first <= second
