# SPDX-License-Identifier: Apache-2.0
"""How parts are put together: by constructors, and typed by the classes there are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

AGENT = Path(__file__).resolve().parents[2] / "agent/missiond"

PROTOCOLS = {
    "SessionEvents": "the core's edge: peers, and the stand-ins of a network",
    "StateSource": "the core's edge: files of the agent, and memory",
    "StateSink": "the core's edge: files of the agent, and memory",
    "RequestHandler": "the core's edge: peers",
    "Clock": "core and common may not import host",
    "WakeTimer": "the host's timer, and a share of one",
    "ValueType": "twelve kinds of values of the configuration",
    "Checksum": "hashlib is imported late, and its type has no public name",
    "JournalClock": "the store may not import host",
    "Privileged": "the helper, and what is there without one",
    "ChannelOwner": "a link, a pairing session, a farewell, and a stranger",
    "ServiceReader": "the agent's readers of the peer unit, the unit's of the agent, and Avahi's",
}
"""Public protocols with the reason why a class would not do; the list only gets shorter."""

NOT_YET = {"HandoverEvents", "UnitSource"}
"""Those that a class would do for."""

ASSEMBLIES = re.compile(r"(^|_)assembly$|^startup$")
FROM_OUTSIDE = {
    "startup: mission_announcer.hidden",
    "startup: server.limits",
    "assembly: self.snapshots.interval_ms",
    "assembly: self.termination.grace_ms",
}
"""What assemblies set in others after construction, where a reload changes it; the list only gets shorter."""


def _trees() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(AGENT.rglob("*.py")):
        yield file.stem, ast.parse(file.read_text())


def test_a_protocol_has_a_reason() -> None:
    found = {
        node.name
        for _, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and not node.name.startswith("_")
        and any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)
    }
    assert "Clock" in found
    assert found - PROTOCOLS.keys() - NOT_YET == set()


def _targets(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AnnAssign | ast.AugAssign) else []


def test_assemblies_set_nothing_from_outside() -> None:
    """In dependency order there is a constructor's argument for each."""
    found = {
        f"{module}: {ast.unparse(target)}"
        for module, tree in _trees()
        if ASSEMBLIES.search(module)
        for node in ast.walk(tree)
        for target in _targets(node)
        if isinstance(target, ast.Attribute)
        and not (isinstance(target.value, ast.Name) and target.value.id == "self")
    }
    assert found - FROM_OUTSIDE == set()
