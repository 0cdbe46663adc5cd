# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.core.tasks.want import Want, parse_want
from missiond.errors import InvalidParameter


@pytest.mark.parametrize(
    ("said", "want"),
    [
        ({"desktop-id": "org.example.App"}, Want(desktop_id="org.example.App")),
        ({"desktop-id": "org.example.App.desktop"}, Want(desktop_id="org.example.App")),
        (
            {"desktop-id": "7zip", "action": "new-window", "uris": ["https://example.org/a%20b"]},
            Want(desktop_id="7zip", action="new-window", uris=("https://example.org/a%20b",)),
        ),
        ({"uri": "HTTPS://[2001:db8::1]:8080/x?y#z"}, Want(uri="HTTPS://[2001:db8::1]:8080/x?y#z")),
        ({"uri": "mailto:ada@example.org"}, Want(uri="mailto:ada@example.org")),
        (
            {"bus-name": "org.example.My-App", "action": "app.show"},
            Want(bus_name="org.example.My-App", object_path="/org/example/My_App", action="app.show"),
        ),
        (
            {"bus-name": "a.b", "object-path": "/", "action": "x", "parameter": b"\1s\0"},
            Want(bus_name="a.b", object_path="/", action="x", parameter=b"\1s\0"),
        ),
    ],
)
def test_the_three_forms(said: dict[str, Any], want: Want) -> None:
    assert parse_want(said) == want


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({}, "exactly one of"),
        ({"action": "x"}, "exactly one of"),
        ({"desktop-id": "a", "uri": "https://example.org"}, "exactly one of"),
        ({"uri": "https://example.org", "action": "x"}, "has no action"),
        ({"desktop-id": "a", "object-path": "/a"}, "has no object-path"),
        ({"bus-name": "a.b", "action": "x", "uris": []}, "has no uris"),
        *(
            ({"desktop-id": name}, "desktop-id")
            for name in ("", "/etc/x", "../x", "-x", ".x", "a b", "a\n", "a" * 256)
        ),
        *(
            ({"desktop-id": "a", "action": name}, "action")
            for name in ("", "a b", "-a", "a/b", "é", "a" * 256)
        ),
        ({"desktop-id": "a", "uris": ["https://example.org", "file:///etc/passwd"]}, "not file"),
        ({"desktop-id": "a", "uris": ["https://example.org"] * 33}, "32 uris at most"),
        *(
            ({"uri": uri}, "uri")
            for uri in (
                "",
                "example.org",
                "https:",
                "https://",
                "https:///x",
                "https://a b",
                "http://é",
                "mailto:",
                "mailto://x",
                "https://a\n",
                "https://" + "a" * 2048,
            )
        ),
        *(
            ({"uri": uri}, "opens uris of")
            for uri in (
                "javascript:alert(1)",
                "JavaScript:x",
                "file:///etc/passwd",
                "data:text/html,x",
                "ftp://example.org",
                "tel:1",
                "httpss://x",
            )
        ),
        ({"bus-name": "a.b"}, "needs an action"),
        *(
            ({"bus-name": name, "action": "x"}, "bus-name")
            for name in ("", "a", ":1.7", "a..b", ".a.b", "a.b.", "a.1b", "a.b c", "é.b", "a." + "b" * 254)
        ),
        *(
            ({"bus-name": "a.b", "action": "x", "object-path": path}, "object-path")
            for path in ("", "a", "/a/", "//", "/a-b", "/é")
        ),
        ({"bus-name": "a.b", "action": "x", "parameter": b"x" * 4097}, "parameter"),
    ],
)
def test_what_is_none(said: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidParameter, match=why) as refused:
        parse_want(said)
    assert len(refused.value.text) < 200
    assert refused.value.text.isprintable()


@given(st.text())
def test_no_text_gets_through_that_is_more_than_a_uri(text: str) -> None:
    try:
        want = parse_want({"uri": text})
    except InvalidParameter:
        return
    assert want.uri.isascii()
    assert want.uri.isprintable()
    assert want.uri.lower().startswith(("http://", "https://", "mailto:"))


def test_schemes_can_be_others() -> None:
    assert parse_want({"uri": "steam://run/1"}, ("steam",)).uri == "steam://run/1"
