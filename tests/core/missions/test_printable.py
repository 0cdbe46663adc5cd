# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.cli.output import json_text, safe
from missiond.core.missions.printable import shown
from missiond.core.tasks.locks import printable

PERSIAN = "می\N{ZERO WIDTH NON-JOINER}خواهم"
FAMILY = "\N{ZERO WIDTH JOINER}".join("👨👩👧👦")


@pytest.mark.parametrize(
    "text",
    [
        "photos → nas",
        PERSIAN,
        FAMILY,
        "👩🏽\N{ZERO WIDTH JOINER}🚀",
        "क्\N{ZERO WIDTH JOINER}ष",
        "日本",
        "e\u0301",
    ],
)
def test_what_people_write_stays(text: str) -> None:
    assert safe(text) == printable(text, 100) == text
    assert shown(text, lambda _: "?") == text


@pytest.mark.parametrize(
    "char",
    ["\x1b", "\x9b", "\x7f", "\n", "\u202e", "\u2066", "\u200f", "\u2028", "\ufeff", "\u00ad", "\udce9"],
)
def test_what_controls_a_terminal_does_not(char: str) -> None:
    assert safe(f"a{char}b") == "a\N{REPLACEMENT CHARACTER}b"
    assert printable(f"a{char}b", 100) == "a b"
    text = json_text({"label": f"a{char}b"})
    assert text.isprintable()
    assert json.loads(text) == {"label": f"a{char}b"}


@pytest.mark.parametrize("joiner", ["\N{ZERO WIDTH JOINER}", "\N{ZERO WIDTH NON-JOINER}"])
def test_a_joiner_that_joins_nothing_goes(joiner: str) -> None:
    for text in (joiner, f"a{joiner}", f"{joiner}a", f"a {joiner}b", f"a{joiner}{joiner}b", f"a{joiner}-"):
        assert joiner not in safe(text)


@given(st.text())
def test_tables_and_json_keep_the_same(text: str) -> None:
    """What a table shows as it is, JSON has as it is (quotes and backslashes apart), and nothing else."""
    written = json_text(text)
    assert json.loads(written) == text
    plain = text.replace('"', "").replace("\\", "")
    assert (safe(plain) == plain) == (json_text(plain) == f'"{plain}"')
