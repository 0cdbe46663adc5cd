# SPDX-License-Identifier: Apache-2.0
"""What `import missiond` offers, and its exceptions."""

from __future__ import annotations

import ast
import inspect
import pickle
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import missiond
from missiond import client
from missiond.bus.pending_calls import RemoteError
from missiond.client._errors import exception_for
from missiond.errors import AgentError, Code

KINDS = (
    missiond.Denied,
    missiond.NotFound,
    missiond.Refused,
    missiond.Invalid,
    missiond.Busy,
    missiond.Failed,
)


def test_every_name_is_there() -> None:
    for name in client.__all__:
        assert getattr(missiond, name) is getattr(client, name)
    assert set(client.__all__) <= set(dir(missiond))
    assert missiond.__version__
    functions = {name for name in client.__all__ if name.islower()}
    assert functions == set(missiond._FUNCTIONS)


def test_checkers_and_python_see_the_same_names() -> None:
    assert client.__file__ is not None
    tree = ast.parse(Path(client.__file__).read_text())
    checked = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module != "importlib"
        for alias in node.names
    }
    here = {name: getattr(client, name) for name in checked}
    assert set(checked) == set(client.__all__)
    for name, module in checked.items():
        assert module is not None
        assert here[name] is getattr(__import__(module, fromlist=[name]), name)


def test_a_star_imports_them_all_and_help_shows_them() -> None:
    names: dict[str, object] = {}
    exec("from missiond import *", names)
    assert set(client.__all__) <= set(names)
    text = pydoc.plain(pydoc.render_doc(missiond))
    assert all(name in text for name in ("class Agent", "keep_awake(", "class NotFound"))


@pytest.mark.parametrize("module", [missiond, client])
def test_names_that_are_not_there(module: object) -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        module.nothing  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        module.Nothing  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(module, "__path_of_nothing__")


def test_everything_public_says_what_it_is() -> None:
    for name in client.__all__:
        found = getattr(client, name)
        if inspect.isclass(found) or inspect.isfunction(found):
            assert inspect.getdoc(found), name


@pytest.mark.parametrize("code", list(Code), ids=lambda code: code.name)
def test_every_code_has_an_exception_of_one_kind(code: Code) -> None:
    error = exception_for(code.dbus_name, f"{int(code)}: too much; do less")
    assert isinstance(error, AgentError)
    assert isinstance(error, missiond.Error)
    assert (error.code, error.dbus_name, error.text) == (code, code.dbus_name, "too much; do less")
    assert str(error) == f"{int(code)}: too much; do less"
    assert type(error).__name__ == code.dbus_name.rpartition(".")[2]
    assert sum(isinstance(error, kind) for kind in KINDS) == 1
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.text) == (type(error), str(error), error.text)


@pytest.mark.parametrize(
    ("name", "text", "missing"),
    [
        ("ServiceUnknown", "not provided", missiond.Missing.AGENT),
        ("NoReply", "", missiond.Missing.AGENT),
        ("Spawn.ChildExited", "", missiond.Missing.AGENT),
        ("Spawn.Failed", "Unit missiond.service is masked.", missiond.Missing.UNIT),
        ("FileExists", "Unit dbus-org.missiond.Agent1.service failed to load.", missiond.Missing.UNIT),
    ],
)
def test_nobody_there(name: str, text: str, missing: missiond.Missing) -> None:
    error = exception_for(f"org.freedesktop.DBus.Error.{name}", text, "session bus")
    assert isinstance(error, missiond.Unreachable)
    assert isinstance(error, ConnectionError)
    assert error.missing is missing
    assert "session bus" in error.text


def test_errors_that_are_not_the_agents() -> None:
    freedesktop = "org.freedesktop.DBus.Error."
    denied = exception_for(freedesktop + "AccessDenied", "no")
    assert (type(denied).__name__, denied.code) == ("PermissionDenied", 201)
    gone = exception_for(freedesktop + "UnknownObject", "no such object")
    assert (type(gone), gone.code) == (missiond.NotFound, None)
    other = exception_for(freedesktop + "UnknownMethod", "no such method")
    assert (type(other), other.code) == (missiond.Failed, None)
    assert "no such method" in str(other)
    assert not isinstance(other, RemoteError)


def test_the_daemons_pay_nothing(environment: dict[str, str]) -> None:
    code = (
        "import sys, missiond.__main__, missiond.daemon.assembly, missiond.peers.unit, missiond.service\n"
        "print(sorted(name for name in sys.modules if name.startswith('missiond.client')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment)
    assert done.stdout == b"[]\n"
