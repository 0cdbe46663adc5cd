# SPDX-License-Identifier: Apache-2.0
"""The layout that agent/README.md describes holds: who imports whom, sizes, and what the core may use."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
PACKAGE = SOURCE / "agent" / "missiond"
PAGE = SOURCE / "agent" / "README.md"

FORMATS = {"helper.requests", "helper.paths", "units.requests"}
LEAVES = {"errors", "logs", "audit", "journal", "stderr", "working_directory", "__init__", "__main__"}
NO_IO = {
    "asyncio",
    "os",
    "pathlib",
    "select",
    "shutil",
    "signal",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "time",
}
FILE_LINES, FUNCTION_LINES, FOLDER_FILES = 400, 60, 20


@cache
def modules() -> dict[str, ast.Module]:
    """Each module's syntax tree by its dotted name below missiond."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(path.read_text())
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def imported(tree: ast.Module) -> Iterator[str]:
    """What a module imports: full names, those in functions and for the type checker, too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(module: str) -> str:
    """The folder of a module, or the name of one that stands by itself."""
    return "formats" if module in FORMATS else module.partition(".")[0]


def within(name: str) -> str | None:
    """The module below missiond that an imported name is, or is of; None for others."""
    parts = name.split(".")
    if parts[0] != "missiond":
        return None
    for end in range(len(parts), 1, -1):
        for known in (".".join(parts[1:end]), ".".join([*parts[1:end], "__init__"])):
            if known in modules():
                return known
    return "__init__"


def floors() -> dict[str, set[str]]:
    """The table of the page: what each folder may import."""
    found = {}
    for line in PAGE.read_text().partition("## Floors")[2].partition("\n## ")[0].splitlines():
        cells = line.strip("|").split("|")
        if len(cells) == 3 and (name := re.fullmatch(r" `(\w+)` ", cells[0])):
            found[name[1]] = set(re.findall(r"`(\w+)`", cells[2]))
    return found


def test_folders_import_what_the_page_allows() -> None:
    allowed = floors()
    arrows = defaultdict(set)
    for module, tree in modules().items():
        for name in imported(tree):
            target = within(name)
            if target is not None and room(target) != room(module):
                arrows[room(module), room(target)].add(module)
    assert len(arrows) > 40
    wrong = {
        (here, there): sorted(where)
        for (here, there), where in arrows.items()
        if here not in LEAVES and there not in LEAVES and there not in allowed[here]
    }
    assert wrong == {}


def test_no_two_folders_import_each_other() -> None:
    allowed = floors()
    assert [(one, other) for one in allowed for other in allowed[one] if one in allowed[other]] == []


def test_the_page_names_files_that_there_are() -> None:
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*\.py)`", PAGE.read_text()))
    assert len(named) > 50
    names = {path.name for folder in (PACKAGE, SOURCE / "tests") for path in folder.rglob("*.py")}
    there = {name for name in named if (PACKAGE / name).exists() or (SOURCE / name).exists()}
    assert sorted(named - there - names) == []


def test_one_module_imports_the_bus_library() -> None:
    importers = {
        module
        for module, tree in modules().items()
        if any(isinstance(node, ast.Constant) and node.value == "dbus_next" for node in ast.walk(tree))
        or any(name.partition(".")[0] in ("dbus_next", "dbus_fast") for name in imported(tree))
    }
    assert importers == {"bus.library"}


def test_the_core_does_no_io() -> None:
    wrong = {
        module: sorted(used)
        for module, tree in modules().items()
        if room(module) == "core" and (used := {name.partition(".")[0] for name in imported(tree)} & NO_IO)
    }
    assert wrong == {}


def test_no_file_or_function_is_long() -> None:
    files = {path: path.read_text().count("\n") for path in PACKAGE.rglob("*.py")}
    assert {str(path): lines for path, lines in files.items() if lines > FILE_LINES} == {}
    functions = {
        f"{module}.{node.name}": node.end_lineno - node.lineno + 1
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    }
    assert {name: lines for name, lines in functions.items() if lines > FUNCTION_LINES} == {}


def test_no_folder_is_crowded() -> None:
    folders = Counter(module.rpartition(".")[0] for module in modules() if not module.endswith("__init__"))
    assert {folder: count for folder, count in folders.items() if count > FOLDER_FILES} == {}


def test_a_class_name_stands_once() -> None:
    places = defaultdict(list)
    for module, tree in modules().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
