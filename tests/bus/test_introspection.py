# SPDX-License-Identifier: Apache-2.0
"""The shipped XML is read, all of it, and only where it should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from missiond.bus import introspection as spec_module
from missiond.bus.introspection import SpecError, load_spec, load_specs, parse
from standins.programs.sample_service import ITEM, SAMPLE, XML


def test_shipped_files_are_read() -> None:
    specs = load_specs()
    transient = specs["org.missiond.Agent1.TransientTask"]
    assert transient.properties["Remaining"] == ("u", "false")
    assert transient.properties["Id"] == ("u", "const")
    assert transient.properties["Locked"] == ("b", "true")
    manager = specs["org.missiond.Agent1.BackgroundTaskManager"]
    assert manager.methods["RequestSuspendDelay"] == ("sa{sv}", "uu")
    assert manager.signals["SuspendDelayEnded"] == "us"


def test_sample() -> None:
    sample, item = parse(XML)
    assert (sample.name, item.name) == (SAMPLE, ITEM)
    assert sample.properties["Big"] == ("as", "invalidates")
    assert sample.methods["Swap"] == ("a{sv}a(us)", "a(us)a{sv}")
    assert sample.xml.startswith('  <interface name="org.missiond.Agent1.Sample">')
    assert sample.xml.endswith("</interface>")


METHOD = '<node><interface name="a.b"><method name="C"><arg type="{}"/></method></interface></node>'
PROPERTY = (
    '<node><interface name="a.b"><property name="C" type="s" access="{}">{}</property></interface></node>'
)
MAYBE = '<annotation name="org.freedesktop.DBus.Property.EmitsChangedSignal" value="maybe"/>'


@pytest.mark.parametrize(
    "body",
    [
        "no xml",
        "<node><interface/></node>",
        '<other><interface name="a.b"></interface></other>',
        METHOD.format("ss"),
        METHOD.format("?"),
        PROPERTY.format("readwrite", ""),
        PROPERTY.format("read", MAYBE),
    ],
)
def test_bad_xml(body: str) -> None:
    with pytest.raises(SpecError):
        parse(body)


def test_first_directory_that_has_any_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "org.missiond.Agent1.Sample.xml").write_text(XML, encoding="utf-8")
    monkeypatch.setattr(spec_module, "directories", lambda: [tmp_path / "empty", tmp_path / "full"])
    assert set(load_specs()) == {SAMPLE, ITEM}
    with pytest.raises(SpecError, match="no org"):
        load_specs(tmp_path / "empty")


def test_order_of_directories() -> None:
    found = [str(directory) for directory in spec_module.directories()]
    assert found[0].endswith("/dbus")
    assert "/usr/share/dbus-1/interfaces" in found[1:]
    assert found[-1] == "/usr/local/share/dbus-1/interfaces"


def test_options_are_read_from_their_annotation() -> None:
    specs = load_specs()
    manager = specs["org.missiond.Agent1.BackgroundTaskManager"]
    assert manager.options["StopBackgroundRunning"] == {"context": "s", "pid": "u"}
    assert "CancelSuspendDelay" not in manager.options
    assert load_spec(manager.name) == manager
    with pytest.raises(SpecError, match=r"no org\.missiond\.Nothing\.xml"):
        load_spec("org.missiond.Nothing")


@pytest.mark.parametrize("value", ["pid:", "pid:uu", "pid", ":u"])
def test_options_that_make_no_sense(value: str) -> None:
    annotation = f'<annotation name="org.missiond.Options" value="{value}"/>'
    text = f'<node><interface name="a.b"><method name="M">{annotation}</method></interface></node>'
    with pytest.raises(SpecError):
        parse(text)


def test_options_are_those_that_the_services_know() -> None:
    from missiond.service import background_tasks, peers, registration

    specs = load_specs()
    tasks = specs["org.missiond.Agent1.BackgroundTaskManager"].options
    assert tasks["StartBackgroundRunning"] == background_tasks.START_OPTIONS
    missions = specs["org.missiond.Agent1.DistributedMissionManager"].options
    assert missions["RegisterMission"] == registration.REGISTRATION
    assert specs["org.missiond.Agent1.Peers"].options["TrustDevice"] == peers._TRUST_OPTIONS
