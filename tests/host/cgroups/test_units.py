# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.host.cgroups.units import NAME_LENGTH, application_of, printable, unescape, unit_of

USER = b"/user.slice/user-1000.slice/user@1000.service"
APP_SCOPE = USER + b"/app.slice/app-gnome-org.gnome.Terminal-4711.scope"


@pytest.mark.parametrize(
    ("content", "unit"),
    [
        (b"0::/system.slice/backup.service\n", "backup.service"),
        (b"0::" + APP_SCOPE + b"\n", "app-gnome-org.gnome.Terminal-4711.scope"),
        (b"0::" + APP_SCOPE + b"/vte/tab1\n", "app-gnome-org.gnome.Terminal-4711.scope"),
        (b"0::" + USER + b"/init.scope\n", "init.scope"),
        (b"0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope"),
        (b"0::/system.slice/foo.service (deleted)\n", "foo.service"),
        (b"0::/../../system.slice/foo.service\n", "foo.service"),
        (b"0::/../..\n", None),
        (b"0::/system.slice/_memory.service\n", "memory.service"),
        (b"0::/system.slice/system-getty.slice/getty@tty1.service\n", "getty@tty1.service"),
        (b"12:cpu,cpuacct:/foo.service\n1:name=systemd:/init.scope\n0::/\n", "init.scope"),
        (b"4:memory:/other.service\n1:name=systemd:/\n0::/system.slice/a.service\n", "a.service"),
        (b"1:name=systemd:/a.service\n0::/b.service\n", "a.service"),
        (b"0::/a:b.service\n", "a:b.service"),
        (b"4:memory:/other.service\n", None),
        (b"0::/\n", None),
        (b"", None),
        (b"rubbish", None),
        (b"0::/system.slice/.service\n", None),
        (b"0::/user.slice\n", None),
        (b"0::/a.service/\xff\xfe.scope\n", "a.service"),
        (b"0::/a.service/new\x0bline.scope\n", "a.service"),
        (b"0::/a.service/" + b"x" * 300 + b".scope\n", "a.service"),
        (b"0::/a.service/fake .scope\n", "a.service"),
        # what is within a unit is no unit
        (
            b"0::" + USER + b"/app.slice/app-org.kde.konsole-41.scope/main.scope\n",
            "app-org.kde.konsole-41.scope",
        ),
        (
            b"0::" + USER + b"/app.slice/app-org.kde.konsole-41.scope/tab(5).scope\n",
            "app-org.kde.konsole-41.scope",
        ),
        (
            b"0::" + USER + b"/user.slice/libpod-0a.scope/container/system.slice/x.service\n",
            "libpod-0a.scope",
        ),
        (b"0::/machine.slice/machine-x.scope/payload/user.slice" + APP_SCOPE + b"\n", "machine-x.scope"),
        (b"0::/system.slice/docker-0a.scope/init.scope\n", "docker-0a.scope"),
        (b"0::" + USER + b"\n", "user@1000.service"),
        (b"0::" + USER + b"/app.slice/x.service/user@1.service/y.service\n", "x.service"),
    ],
)
def test_unit(content: bytes, unit: str | None) -> None:
    assert unit_of(content) == unit


@pytest.mark.parametrize(
    ("unit", "application"),
    [
        # the forms of the desktop environment specification
        ("app-org.gnome.Evince-12345.scope", "org.gnome.Evince"),
        ("app-gnome-org.gnome.Evince-12345.scope", "org.gnome.Evince"),
        ("app-gnome-org.gnome.Evince@12345.service", "org.gnome.Evince"),
        ("app-flatpak-org.telegram.desktop@12345.service", "org.telegram.desktop"),
        ("app-flatpak-org.telegram.desktop-12345.scope", "org.telegram.desktop"),
        ("app-KDE-org.kde.okular@12345.service", "org.kde.okular"),
        ("app-org.kde.amarok.service", "org.kde.amarok"),
        ("app-gnome-org.kde.amarok.service", "org.kde.amarok"),
        (r"app-gnome\x2dkeyring\x2dssh@autostart.service", "gnome-keyring-ssh"),
        (r"app-gnome-gnome\x2dkeyring\x2dssh-2151.scope", "gnome-keyring-ssh"),
        ("app-org.kde.konsole-9aa1e6b2b47d4de8a1f2d2ba6e2a5b1c.scope", "org.kde.konsole"),
        # seen in the wild
        ("app-org.kde.konsole-9aa1e6b2b47d4de8a1f2d2ba6e2a5b1c.service", "org.kde.konsole"),
        ("app-gnome-org.kde.konsole-12.service", "org.kde.konsole"),
        ("app-foo.scope", "foo"),
        ("app-gnome-careless-name-12.scope", "careless-name"),
        ("app-flatpak-org.x@12.scope", "org.x"),
        ("dbus-:1.2-org.gnome.Calculator@0.service", "org.gnome.Calculator"),
        # snaps, of all of snapd's spellings
        (
            "snap.thunderbird.thunderbird-3b3d3e3e-1c1c-4d4d-9e9e-0a0b0c0d0e0f.scope",
            "thunderbird_thunderbird",
        ),
        (
            "snap.thunderbird.thunderbird.3b3d3e3e-1c1c-4d4d-9e9e-0a0b0c0d0e0f.scope",
            "thunderbird_thunderbird",
        ),
        (r"snap.code\x2doss.code\x2durl-3b3d3e3e-1c1c-4d4d-9e9e-0a0b0c0d0e0f.scope", "code-oss_code-url"),
        ("snap.foo-bar.baz.service", "foo-bar_baz"),
        ("snap.foo_second.baz.service", "foo+second_baz"),
        ("snap.lxd.hook.configure-3b3d3e3e-1c1c-4d4d-9e9e-0a0b0c0d0e0f.scope", "lxd_hook.configure"),
        ("snap.service", "snap"),
        ("snap.x.scope", None),
        # services
        ("backup.service", "backup"),
        ("backup@home.service", "backup"),
        (r"back\x2dup.service", "back-up"),
        ("app.service", "app"),
        ("application-x.service", "application-x"),
        (r"caf\xc3\xa9.service", "café"),
        (r"bell\x07\x0a.service", "bell__"),
        (r"bad\xff.service", "bad_"),
        # nothing to be told
        ("session-3.scope", None),
        ("init.scope", None),
        ("app-.scope", None),
        ("app--1.scope", None),
        ("app-@1.service", None),
        ("@1.service", None),
        ("foo.slice", None),
        ("", None),
    ],
)
def test_application(unit: str, application: str | None) -> None:
    assert application_of(unit) == application


@given(st.binary(max_size=400))
def test_any_cgroup_file_is_survived(content: bytes) -> None:
    unit = unit_of(b"0::/a.service/" + content)
    if unit is not None:
        assert unit.isascii()
        assert unit.endswith((".service", ".scope"))


@given(
    st.text(max_size=400),
    st.sampled_from([".service", ".scope", ""]),
    st.sampled_from(["", "app-", "dbus-:1."]),
)
def test_any_unit_gives_a_printable_name_or_none(stem: str, kind: str, prefix: str) -> None:
    name = application_of(prefix + stem + kind)
    assert name is None or (name.isprintable() and 1 <= len(name) <= NAME_LENGTH)


_IDS = st.text(string.ascii_letters + string.digits + "._", min_size=1, max_size=40).filter(
    lambda text: not text.isdecimal()
)
_LAUNCHERS = st.sampled_from(["", "gnome-", "KDE-", "flatpak-"])
_RANDOM = st.text(string.hexdigits + "_", min_size=1, max_size=32)


def _escaped(name: str) -> str:
    return name.replace("-", r"\x2d")


@given(_LAUNCHERS, st.lists(_IDS, min_size=1, max_size=4).map("-".join), _RANDOM)
def test_specified_forms_give_back_the_id(launcher: str, application_id: str, random: str) -> None:
    assert application_of(f"app-{launcher}{_escaped(application_id)}-{random}.scope") == application_id
    scope = f"0::/user.slice/app.slice/app-{launcher}{_escaped(application_id)}-{random}.scope\n"
    assert application_of(unit_of(scope.encode()) or "") == application_id


@given(st.sampled_from(["", "gnome-"]), st.lists(_IDS, min_size=2, max_size=4).map("-".join), _RANDOM)
def test_specified_service_gives_back_the_id(launcher: str, application_id: str, random: str) -> None:
    for instance in ("", f"@{random}"):
        assert application_of(f"app-{launcher}{_escaped(application_id)}{instance}.service") == application_id


@given(st.text())
def test_printable(name: str) -> None:
    shown = printable(name)
    assert len(shown) == min(len(name), NAME_LENGTH)
    assert shown.isprintable()
    assert printable(shown) == shown


@given(st.text(alphabet=st.characters(blacklist_categories=["Cs"])).filter(lambda text: "\\" not in text))
def test_unescape_undoes_escape(name: str) -> None:
    escaped = "".join(
        char if char.isalnum() and char.isascii() else "".join(rf"\x{byte:02x}" for byte in char.encode())
        for char in name
    )
    assert unescape(escaped) == name
