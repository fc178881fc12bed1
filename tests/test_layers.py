"""Imports point one way, and no file or function outgrows the house."""

import ast
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from cluster.base import code
from cluster.base.code import domains, folders

HERE = Path(__file__).resolve().parents[1]
DOMAINS = domains()
OURS = {*folders(), "tests"}
CLIENT_NEEDS = {"httpx", "pydantic", "typer", "rich"}
MAY_IMPORT_RAY = {f"cluster/{room}" for room in ("training", "serving", "engine", "bulk")}
FOR_AUTHORS = {
    *(f"cluster/{room}" for room in ("base", "contract", "neural", "learning", "media")),
    *(f"cluster/features/{room}" for room in ("schema", "derived", "views")),
}
MOST_FILES = 16  # in one folder
WEB = {"starlette", "fastapi", "httpx", "uvicorn", "aiohttp", "flask", "requests"}
FILES = sorted(
    path.relative_to(HERE) for folder in OURS - {"tests"} for path in (HERE / folder).rglob("*.py")
)


def imports(tree: ast.AST) -> Iterator[str]:
    """The first word of every module that is imported, at the top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or ".").split(".")[0]


def allowed(folder: str, imported: set[str]) -> set[str]:
    """Those of the imports that the folder may have."""
    ours, others = imported & OURS, imported - OURS
    if folder == "cluster":
        return (ours & {"cluster"}) | others
    if folder in DOMAINS:
        return (ours & {"cluster", folder}) | others - WEB - {"ray"}
    if folder == "lepton":
        return (ours & {"lepton"}) | others & (CLIENT_NEEDS | set(sys.stdlib_module_names))
    return (ours - {"tests"}) | others


def arrows(paths: Iterable[Path]) -> dict[str, set[str]]:
    """The folders that each folder imports from, inside functions too, for types alone not."""
    found: dict[str, set[str]] = {}
    for path in paths:
        package = ".".join(path.parent.parts)
        for name in code.imports((HERE / path).read_text(), package):
            at = HERE.joinpath(*name.split("."))
            folder = at if (at / "__init__.py").exists() else at.parent
            if at.with_suffix(".py").exists() or folder == at:
                found.setdefault(path.parent.as_posix(), set()).add(
                    folder.relative_to(HERE).as_posix()
                )
    return {folder: others - {folder} for folder, others in found.items()}


def parsed(path: Path) -> ast.Module:
    return ast.parse((HERE / path).read_text())


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_imports_only_what_its_folder_may(path: Path) -> None:
    imported = set(imports(parsed(path)))
    assert imported - allowed(path.parts[0], imported) == set()


@pytest.mark.parametrize("path", FILES, ids=str)
def test_only_the_rooms_that_run_things_import_ray(path: Path) -> None:
    assert "ray" not in set(imports(parsed(path))) or path.parent.as_posix() in MAY_IMPORT_RAY


def test_no_folders_import_each_other_in_a_circle() -> None:
    try:
        TopologicalSorter(arrows(FILES)).prepare()
    except CycleError as circle:
        pytest.fail(f"These folders import each other: {' <- '.join(circle.args[1])}")


def test_capabilities_import_only_the_rooms_for_authors() -> None:
    found = arrows(path for path in FILES if path.parts[0] in DOMAINS)
    assert set().union(*found.values()) - {*FOR_AUTHORS, *DOMAINS} == set()


def test_a_folder_holds_at_most_16_files() -> None:
    ours = [*FILES, *(path.relative_to(HERE) for path in (HERE / "tests").rglob("*.py"))]
    counts = Counter(path.parent.as_posix() for path in ours)
    assert {folder: n for folder, n in counts.items() if n > MOST_FILES} == {}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_has_at_most_400_lines_and_its_functions_40(path: Path) -> None:
    lines = (HERE / path).read_text().count("\n")
    long = {
        f"{node.name} has {size} lines"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (size := (node.end_lineno or node.lineno) - node.lineno + 1) > 40
    }
    assert lines <= 400
    assert long == set()


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_opens_with_a_sentence(path: Path) -> None:
    docstring = ast.get_docstring(parsed(path)) or ""
    assert docstring.splitlines()[0].rstrip().endswith((".", "?")), docstring[:80]


def test_the_rules_would_notice() -> None:
    """Each rule refuses what it is there to refuse."""
    assert allowed("vision", {"cluster", "nlp", "numpy", "httpx"}) == {"cluster", "numpy"}
    assert allowed("cluster", {"services", "vision", "ray"}) == {"ray"}
    assert allowed("lepton", {"cluster", "numpy", "json", "httpx"}) == {"json", "httpx"}
    inside = ast.parse("def f():\n    import ray.data\n    from nlp import classify\n")
    assert set(imports(inside)) == {"ray", "nlp"}
