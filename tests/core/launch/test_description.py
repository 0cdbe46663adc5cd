# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.core.launch.description import MAX_LIST, LaunchDescription, make, parse, user_here
from missiond.errors import AgentError, InvalidParameter, PermissionDenied

TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=20)
WHOLE = LaunchDescription(
    argv=("/usr/bin/x", "a\nb", "", '$HOME ; %h \\ "'),
    cwd="/srv/a b",
    environment=("LANG=C", "A=\n=x"),
    user="alice",
    properties=("MemoryMax=1048576", "Nice=19"),
    state_directory="x/y",
    label="Über",
    icon="x",
    tag=-3,
    app_id="org.example.X",
    umask=0o077,
)


def test_there_and_back() -> None:
    assert parse(json.loads(json.dumps(WHOLE.mapping()))) == (WHOLE, ())
    assert WHOLE.executable == "/usr/bin/x"
    assert parse({"argv": ["/x"]}) == (LaunchDescription(("/x",)), ())
    assert "umask" not in LaunchDescription(("/x",)).mapping()  # as earlier versions know it


@given(st.lists(TEXT, max_size=5), st.lists(TEXT, max_size=5))
def test_all_text_but_nul_goes_through(arguments: list[str], values: list[str]) -> None:
    environment = tuple(f"T_{n}={value}" for n, value in enumerate(values))
    given_ = LaunchDescription(("/x", *arguments), environment=environment)
    assert parse(json.loads(json.dumps(given_.mapping()))) == (given_, ())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"argv": []}, "argv is empty"),
        ({"argv": ["x"]}, "absolute path"),
        ({"argv": ["./x"]}, "absolute path"),
        ({"argv": [""]}, "absolute path"),
        ({"argv": ["/x", "a\0b"]}, "NUL"),
        ({"argv": ["/x\0"]}, "NUL"),
        ({"argv": ["/x", "\ud800"]}, "Unicode"),
        ({"argv": ["/" + "x" * 4095]}, "longer than 4095"),
        ({"argv": ["/x", "y" * MAX_LIST]}, "argv is longer"),
        ({"argv": ["/x"] * 5000}, "more than 4096"),
        ({"cwd": "srv"}, "absolute path"),
        ({"cwd": "/s\0"}, "NUL"),
        ({"environment": [f"T_{n}=" for n in range(1001)]}, "1001 entries; at most 1000"),
        ({"environment": ["A"]}, "not NAME=VALUE"),
        ({"environment": ["=A"]}, "not NAME=VALUE"),
        ({"environment": ["A=\0"]}, "NUL"),
        ({"environment": ["A=" + "x" * MAX_LIST]}, "longer"),
        ({"user": "a b"}, "not the name of a user"),
        ({"user": "../x"}, "not the name of a user"),
        ({"properties": ["ExecStartPre=/x"]}, "none of MemoryMax"),
        ({"properties": ["Nice=-1"]}, "from 0 to 19"),
        ({"properties": ["TasksMax=0"]}, "from 1"),
        ({"properties": ["TasksMax=1 "]}, "whole number"),
        ({"properties": ["TasksMax=1", "TasksMax=2"]}, "twice"),
        ({"state_directory": "../x"}, "state directory"),
        ({"state_directory": "/x"}, "state directory"),
        ({"state_directory": ""}, "state directory"),
        ({"label": "x" * 5000}, "longer than 4096"),
        ({"tag": 2**31}, "32-bit"),
        ({"tag": True}, "no int"),
        ({"umask": -1}, "no umask"),
        ({"umask": 0o1000}, "no umask"),
        ({"umask": "077"}, "no int"),
        ({"umask": True}, "no int"),
        ({"tag": "1"}, "no int"),
        ({"argv": "/x"}, "no tuple"),
        ({"argv": ["/x", 1]}, "no tuple"),
        ({"cwd": None}, "no str"),
        ({"uid": 0}, "'uid'"),
    ],
)
def test_what_can_t_be_started_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidParameter, match=said) as caught:
        parse(WHOLE.mapping() | change)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("data", [None, [], "x", 5, {}, {"cwd": "/"}])
def test_what_is_no_description(data: object) -> None:
    with pytest.raises(InvalidParameter):
        parse(data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | TEXT, lambda x: st.lists(x) | st.dictionaries(TEXT, x)
    )
)
def test_rubbish_of_a_peer_is_an_error_of_ours(value: Any) -> None:
    for data in (value, {"argv": value}, {"argv": ["/x"], "environment": value, "properties": value}):
        try:
            found, _ = parse(data)
        except AgentError:
            continue
        assert found.executable.startswith("/")


def test_a_thousand_variables_go_along_and_what_loads_things_does_not() -> None:
    entries = tuple(f"T_{n}={n}" for n in range(990))
    found, dropped = make(
        LaunchDescription(("/x",), environment=(*entries, "LD_PRELOAD=/evil.so", "PYTHONPATH=."))
    )
    assert found.environment == entries
    assert dropped == ("LD_PRELOAD", "PYTHONPATH")


def test_as_whom_it_goes_on() -> None:
    assert user_here("alice", {}) == "alice"
    assert user_here("alice", {"alice": "al", "*": "-"}) == "al"
    assert user_here("bob", {"alice": "al", "*": "guest"}) == "guest"
    for user, table in (("bob", {"*": "-"}), ("", {}), ("al", {"al": "-"})):
        with pytest.raises(PermissionDenied, match="UserMap="):
            user_here(user, table)
