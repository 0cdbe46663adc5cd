# SPDX-License-Identifier: Apache-2.0
"""First lines of public docstrings name things: no pronouns, and no clauses that stand for a noun."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

AGENT = Path(__file__).resolve().parents[2] / "agent/missiond"
PRONOUN = re.compile(
    r"\b(it|its|itself|they|them|their|that|those|what|whatever|who|whom|whoever|whose|which)\b",
    re.IGNORECASE,
)

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _public(name: str) -> bool:
    return not name.startswith("_") or (name.startswith("__") and name.endswith("__"))


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of each: of the module, classes, functions, and what is assigned and described."""
    if text := ast.get_docstring(tree):
        yield 1, text
    yield from _within(tree.body)


def _within(body: list[ast.stmt]) -> Iterator[tuple[int, str]]:
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, Definition):
            if not _public(node.name):
                continue
            if text := ast.get_docstring(node):
                yield node.lineno, text
            if isinstance(node, ast.ClassDef):
                yield from _within(node.body)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(following, ast.Expr):
            first = node.targets[0] if isinstance(node, ast.Assign) else node.target
            target = first.elts[0] if isinstance(first, ast.Tuple) else first
            told = following.value
            if not isinstance(target, ast.Name) or target.id.startswith("_"):
                continue
            if isinstance(told, ast.Constant) and isinstance(told.value, str):
                yield following.lineno, told.value


def wrong(file: Path) -> list[str]:
    """First lines with such a word, code left out."""
    firsts = [(line, text.strip().splitlines()[0]) for line, text in docstrings(ast.parse(file.read_text()))]
    return [
        f"{file.relative_to(AGENT)}:{line}: {first}"
        for line, first in firsts
        if PRONOUN.search(re.sub(r"`[^`]*`", "", first))
    ]


def test_a_pronoun_is_found() -> None:
    tree = ast.parse('"""Lists."""\nA = 1\n"""What it is."""\ndef f():\n    """Send `it`."""\n')
    assert [text for _, text in docstrings(tree) if PRONOUN.search(re.sub(r"`[^`]*`", "", text))] == [
        "What it is."
    ]


def test_first_lines_name_things() -> None:
    assert [line for file in sorted(AGENT.rglob("*.py")) for line in wrong(file)] == []
